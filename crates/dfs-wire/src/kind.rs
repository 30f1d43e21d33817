//! Names of the kinds of a message, as `docs/protocols.md` and the vectors use
//! them.

/// Gives a message enum the method `kind` and the list `KINDS`. The match is
/// exhaustive, so a new variant without a name does not compile.
macro_rules! named_kinds {
    ($message:ident { $($variant:ident => $name:literal,)+ }) => {
        impl $message {
            /// Names of all kinds of this message, as in `docs/protocols.md`.
            pub const KINDS: &'static [&'static str] = &[$($name),+];

            /// Name of the kind of this message, as in `docs/protocols.md`.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

pub(crate) use named_kinds;
