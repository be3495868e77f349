//! The provider against its double, and against the real thing where a variable names one.
