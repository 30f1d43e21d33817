//! Whole nodes in this process: what peers may do to them, and how their
//! downloads end.

mod cancel;
mod early;
mod hostile;
mod peer;
mod raw;
mod share;
mod stop;
