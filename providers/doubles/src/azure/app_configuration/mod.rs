//! App Configuration's data plane.
