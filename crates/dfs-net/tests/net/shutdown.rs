//! The end of a network.

use dfs_net::NetHandle;
use tokio::runtime::Handle;

use crate::node::{address, node};
use crate::two_nodes::{empty_header, serve};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn the_shutdown_ends_every_task() {
    let before = tasks();
    let (a, a_events) = node(vec![]).await;
    let (b, b_events) = node(vec![address(&a).await]).await;
    let server = tokio::spawn(serve(a.clone(), a_events));
    b.dial(address(&a).await).await.expect("the network runs");
    let header = b.fetch_header(a.peer(), empty_header().cid(), 0).await.expect("the header");
    assert_eq!(header, empty_header().into());
    assert!(tasks() >= before + 5, "two loops, two connections and the server");
    b.shutdown().await;
    a.shutdown().await;
    server.await.expect("the events end with the network");
    drop(b_events);
    assert_eq!(tasks(), before);
}

#[tokio::test]
async fn without_a_handle_the_network_ends_and_so_do_its_events() {
    let (net, mut events) = node(vec![]).await;
    drop(net);
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn a_mocked_network_passes_commands_on() {
    let (net, mut mock) = NetHandle::mocked();
    let cid = empty_header().cid();
    net.stop_providing(cid).await.expect("the mock receives");
    assert_eq!(mock.expect_stop_providing().await, cid);
    net.shutdown().await;
    drop(mock);
    net.closed().await;
    assert!(net.status().await.is_err());
}
