//! One expression language everywhere: a checked, bounded subset of CEL with units.
