//! Metrics as structs: one field declares a metric, and its doc comment is the
//! help text.
//!
//! Each crate that counts something has one struct made by [`metrics!`]. The
//! owner of the counting component keeps the struct, and the owner of the
//! process calls `register` once to export it. Unregistered metrics count all
//! the same; a program that exports nothing passes a default.
//!
//! Names follow OpenMetrics: the prefix of the struct, the name of the field,
//! the unit, and `_total` for counters.
//!
//! ```
//! use dfs_metrics::{Counter, Histogram, Registry, buckets, encode, metrics};
//!
//! metrics! {
//!     /// What a kettle counts.
//!     pub struct Metrics("kettle") {
//!         /// Water boiled.
//!         pub boiled: Counter [Bytes],
//!         /// Time until the water boils.
//!         pub boiling: Histogram [Seconds] = Histogram::new(buckets::SECONDS),
//!     }
//! }
//!
//! let metrics = Metrics::default();
//! let mut registry = Registry::default();
//! metrics.register(&mut registry);
//! metrics.boiled.inc_by(1024);
//! assert!(encode(&registry).contains("kettle_boiled_bytes_total 1024"));
//! ```

use std::sync::atomic::AtomicU64;

pub use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::histogram::Histogram;
pub use prometheus_client::registry::{Registry, Unit};

/// A value that goes up and down.
pub type Gauge = prometheus_client::metrics::gauge::Gauge<u64, AtomicU64>;

/// Upper bounds of histogram buckets.
pub mod buckets {
    /// From a millisecond to a minute, for requests and commits.
    pub const SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0];
}

/// All metrics of a registry as OpenMetrics text.
#[must_use]
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .expect("writing to a string does not fail");
    text
}

/// The help text of a doc comment. The registry appends the final period.
#[doc(hidden)]
#[must_use]
pub fn help(doc: &str) -> &str {
    let doc = doc.trim();
    doc.strip_suffix('.').unwrap_or(doc)
}

/// Declares a struct of metrics with `Default` and `register`.
///
/// Each field is `name: Type`, then an optional unit in brackets (a variant of
/// [`Unit`]), then an optional initial value for types without a default.
#[macro_export]
macro_rules! metrics {
    (
        $(#[$outer:meta])*
        $vis:vis struct $name:ident($prefix:literal) {
            $(
                $(#[doc = $help:literal])+
                $field_vis:vis $field:ident : $kind:ty $([$unit:ident])? $(= $initial:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $( $(#[doc = $help])+ $field_vis $field: $kind, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::metrics!(@initial $($initial)?), )* }
            }
        }

        impl $name {
            /// Exports every metric of the struct through the registry.
            $vis fn register(&self, registry: &mut $crate::Registry) {
                let registry = registry.sub_registry_with_prefix($prefix);
                $(
                    let help = $crate::help(concat!($($help),+));
                    $crate::metrics!(@register registry, $field, help, self.$field $(, $unit)?);
                )*
            }
        }
    };
    (@initial) => { Default::default() };
    (@initial $initial:expr) => { $initial };
    (@register $registry:ident, $field:ident, $help:ident, $metric:expr) => {
        $registry.register(stringify!($field), $help, $metric.clone());
    };
    (@register $registry:ident, $field:ident, $help:ident, $metric:expr, $unit:ident) => {
        $registry.register_with_unit(
            stringify!($field),
            $help,
            $crate::Unit::$unit,
            $metric.clone(),
        );
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Outcome {
        outcome: &'static str,
    }

    metrics! {
        /// What the tests count.
        struct Metrics("test") {
            /// Requests that were
            /// answered.
            requests: Family<Outcome, Counter>,
            /// Peers connected now.
            peers: Gauge,
            /// Time to answer.
            answer: Histogram [Seconds] = Histogram::new(buckets::SECONDS),
        }
    }

    #[test]
    fn a_field_is_exported_with_help_unit_and_labels() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.requests.get_or_create(&Outcome { outcome: "found" }).inc();
        metrics.peers.set(3);
        metrics.answer.observe(0.5);
        let text = encode(&registry);
        for line in [
            "# HELP test_requests Requests that were answered.",
            "test_requests_total{outcome=\"found\"} 1",
            "test_peers 3",
            "# UNIT test_answer_seconds seconds",
            "test_answer_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
