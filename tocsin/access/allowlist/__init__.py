"""The allowlist: of those who can prove who they are, who may come in, and what they may do here.

An entry names an address, a domain, or the sub-domains of one; it allows or denies, and deny wins. Modules: address
(one spelling per address), entry (the nouns), roll (the list and its rulings, each with a reason), change (what may be
changed, and by whom), csv_file (import and export), search and documents (shared by console, API and command line),
roster (the list in a process' memory, never over 2 s behind), listen (Postgres tells of changes), gate (the same ruling
as a Postgres function, for Supabase's sign-up hook).

Storing is tocsin.state's: `AllowlistTable`.
"""

from tocsin.access.allowlist.address import Address, BadAddress, Folding
from tocsin.access.allowlist.change import AuditLine, Change, ChangeRefused, Expire, Fold, Purge, Put, Remove, Replace
from tocsin.access.allowlist.csv_file import Difference, difference, export_csv, import_csv
from tocsin.access.allowlist.entry import Effect, Entry, Kind, Role, entry_of
from tocsin.access.allowlist.roll import Listed, Roll, Ruling
from tocsin.access.allowlist.roster import Roster, Shelf

__all__ = [
    "Address",
    "AuditLine",
    "BadAddress",
    "Change",
    "ChangeRefused",
    "Difference",
    "Effect",
    "Entry",
    "Expire",
    "Fold",
    "Folding",
    "Kind",
    "Listed",
    "Purge",
    "Put",
    "Remove",
    "Replace",
    "Role",
    "Roll",
    "Roster",
    "Ruling",
    "Shelf",
    "difference",
    "entry_of",
    "export_csv",
    "import_csv",
]
