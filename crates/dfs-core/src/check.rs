//! Names of the checks of the content format.
//!
//! Every error that a decoder or verifier of this crate returns knows the name
//! under which `docs/content-format.md` states the violated rule. The negative
//! vectors refer to checks by these names.

/// Gives an error enum the method `check` and the list `CHECKS`. The match is
/// exhaustive, so a new variant without a name does not compile.
macro_rules! named_checks {
    ($error:ident { $($variant:ident => $name:literal,)+ }) => {
        impl $error {
            /// Names of all checks that this error reports, as in
            /// `docs/content-format.md`.
            pub const CHECKS: &'static [&'static str] = &[$($name),+];

            /// Name of the check that failed, as in `docs/content-format.md`.
            #[must_use]
            pub const fn check(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

pub(crate) use named_checks;
