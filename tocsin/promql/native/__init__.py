"""Native histograms: samples that are whole histograms, and what PromQL does with them.

The embedded store holds floats; native histograms come from a storage that has them, as unit tests of rules do. They
are carried beside the floats, as objects, in the series that have some: a query over floats alone never meets this
package's loops.
"""

from tocsin.promql.native.value import Hint, Histogram, Incompatible

__all__ = ["Hint", "Histogram", "Incompatible"]
