"""config.yaml: what is watched, who is told, where things are kept.

    config = load_config(Path("config.yaml"), os.environ)

The file is YAML (1.2: `on` is text, a key given twice is an error). Every key may also be set in the environment, as
TOCSIN_SECTION__KEY (`environment`); secrets come from variables or files and are never shown (`secrets`). The keys are
documented by the models in `schema` and, for collectors and notifiers, by each plug-in's own settings. Everything wrong
is told at once as ConfigError: FILE:LINE, what, and how to mend it. `tocsin check` shows it without starting anything.
"""

from tocsin.config.content import bundled_path, content_path, rule_files
from tocsin.config.load import load_config
from tocsin.config.plan import plan_of, router_of
from tocsin.config.schema import Config

__all__ = ["Config", "bundled_path", "content_path", "load_config", "plan_of", "router_of", "rule_files"]
