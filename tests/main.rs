//! Real daemons on loopback and in network namespaces, driven by the real
//! command line. Nothing here sleeps: everything is waited for.

mod content;
mod discovery;
mod downloads;
mod grpc;
mod harness;
mod help;
mod lifecycle;
mod messages;
mod outputs;
mod remote;
mod space;
mod walk;
