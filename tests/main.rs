//! Real daemons on loopback and in network namespaces, driven by the real
//! command line. Tests wait for events, or poll with a deadline.

mod content;
mod control;
mod discovery;
mod downloads;
mod grpc;
mod harness;
mod help;
mod lifecycle;
mod links;
mod log;
mod messages;
mod metrics;
mod outputs;
mod ranges;
mod remote;
mod space;
mod walk;
