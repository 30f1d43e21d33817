//! Downloads whose file is the only copy.

use dfs_store::{FileId, LinkedFile};

use super::*;

#[tokio::test]
async fn a_linked_file_that_was_renamed_before_a_crash_is_done() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let (downloads, store, mock) = downloads();
    let content = Content::of("abc");
    let _provider = tokio::spawn(content.clone().serve(mock, || {}));
    let options = GetOptions { link: true, ..to(&path) };
    downloads.get_and_wait(content.cid(), options).await.expect("it is got");
    for is_noted in [true, false] {
        let mut file = None;
        forget_the_end(&store, content.cid(), |record| file = record.file);
        if !is_noted {
            // The links lead to the temporary name still.
            change_file(&store, file, |known| {
                let path = [&known.path[..], b".dfs-part"].concat();
                LinkedFile { path, modified_ns: None, ..known }
            });
        }
        assert_eq!(resumed(&downloads, content.cid()).await, DownloadState::Done);
        assert!(fs::read(&path).expect("the file") == content.bytes);
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
        assert!(store.chunk(&content.page.leaves()[0].hash).expect("a look").is_some());
    }
    downloads.stop().await;
}

/// A chunk may be in another file of the user alone, which goes before the end.
#[tokio::test]
async fn a_linked_download_is_not_held_before_its_file_is_complete() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (other, path) = (directory.path().join("other"), directory.path().join("file"));
    let (downloads, store, mock) = downloads();
    let content = Content::of("abc");
    fs::write(&other, &content.bytes[..CHUNK]).expect("written");
    let metadata = fs::metadata(&other).expect("the file");
    let id = FileId(7);
    let link = dfs_store::Link { file: id, offset: 0, len: 64 << 10 };
    let mut batch = Batch::default();
    batch.put::<tables::Files>(&id, &crate::content::links::linked_file(&other, &metadata));
    let owner = dfs_store::Owner::staging([1; 32]);
    batch.put_page(owner, content.page.root().hash, content.page.clone());
    batch.link_chunks(vec![(content.page.leaves()[0].hash, link)]);
    store.commit(&batch).expect("in memory");
    let goes = other.clone();
    let serve = content.clone().serve(mock, move || fs::remove_file(goes).expect("removed"));
    let _provider = tokio::spawn(serve);
    let options = GetOptions { link: true, ..to(&path) };
    let failed = downloads.get_and_wait(content.cid(), options.clone()).await;
    assert!(matches!(failed, Err(NodeError::Download { .. })), "{failed:?}");
    assert!(store.get::<Items>(&content.cid()).expect("a look").is_none(), "it is not held");

    downloads.get_and_wait(content.cid(), options).await.expect("the rest is fetched");
    assert!(fs::read(&path).expect("the file") == content.bytes);
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    downloads.stop().await;
}

/// The part of an earlier run is read and hashed before it counts.
#[tokio::test]
async fn what_was_edited_in_an_unfinished_file_is_fetched_again() {
    for is_other_device in [false, true] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        let (downloads, store, mock) = downloads();
        let content = Content::of("abcdef");
        let mut partial = content.clone();
        partial.chunks.remove(&content.page.leaves()[5].hash);
        let provider = tokio::spawn(partial.serve(mock, || {}));
        let options = GetOptions { link: true, ..to(&path) };
        fetch_a_part(&downloads, &content, options.clone(), 5).await;
        provider.abort();
        let part = fs::read_dir(directory.path()).expect("a directory").next();
        let part = part.expect("a file").expect("readable").path();
        let file = fs::OpenOptions::new().write(true).open(&part).expect("the part");
        std::os::unix::fs::FileExt::write_all_at(&file, b"edited", CHUNK as u64).expect("written");
        drop(file);
        if is_other_device {
            let record = store.get::<tables::Downloads>(&content.cid()).expect("a look");
            change_file(&store, record.expect("a record").file, |known| LinkedFile {
                device: known.device + 1,
                ..known
            });
        }
        drop(downloads);

        let (downloads, mock) = next_run(&store);
        let _provider = tokio::spawn(content.clone().serve(mock, || {}));
        let status = downloads.get_and_wait(content.cid(), options).await.expect("it is got");
        assert_eq!(status.bytes_fetched, 2 * CHUNK as u64, "the edited one and the last one");
        assert!(fs::read(&path).expect("the file") == content.bytes);
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
        downloads.stop().await;
    }
}

#[tokio::test]
async fn a_plain_get_removes_the_unfinished_file_of_a_linked_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, other) = (directory.path().join("file"), directory.path().join("other"));
    let (downloads, store, mock) = downloads();
    let content = Content::of("abc");
    let mut partial = content.clone();
    let last = partial.chunks.remove(&content.page.leaves()[2].hash).expect("a chunk");
    let _provider = tokio::spawn(partial.serve(mock, || {}));
    let options = GetOptions { link: true, ..to(&path) };
    fetch_a_part(&downloads, &content, options, 2).await;
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1, "the part");
    let portion = store.put_chunks(&[(ChunkHash::of(&last), &last)]).expect("in memory");
    store.commit(Batch::default().chunks_stored(portion)).expect("in memory");
    downloads.get_and_wait(content.cid(), to(&other)).await.expect("all chunks are here");
    assert!(fs::read(&other).expect("the file") == content.bytes);
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1, "the part is gone");
    downloads.stop().await;
}

/// Changes what is known of the file that a download links to.
fn change_file(
    store: &WatchedStore,
    id: Option<FileId>,
    change: impl Fn(LinkedFile) -> LinkedFile + Send + Sync + 'static,
) {
    let mut batch = Batch::default();
    batch.update::<tables::Files>(&id.expect("it links"), move |known| {
        Some(change(known.expect("a row")))
    });
    store.commit(&batch).expect("in memory");
}

/// The downloads of a node that starts again with the same store.
fn next_run(store: &Arc<WatchedStore>) -> (Downloads, MockNet) {
    let (net, mock) = NetHandle::mocked();
    let disk = crate::blocking::Disk::new(Arc::clone(store) as Arc<dyn dfs_store::Store>);
    let (gate, metrics) = (Gate::default(), Metrics::default());
    (Downloads::new(disk, net, gate, Turns::one(), metrics), mock)
}

/// Fetches so many chunks into the part of a linked download, and cancels it.
async fn fetch_a_part(downloads: &Downloads, content: &Content, options: GetOptions, chunks: u64) {
    let mut status = downloads.get(content.cid(), options).await.expect("started");
    status.wait_for(|status| status.chunks_done == chunks).await.expect("it goes on");
    assert!(downloads.cancel(content.cid()).await);
    while downloads.active() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Content of many pages, whose last chunk is in all of them.
fn of_many_pages() -> (Vec<u8>, HashMap<ChunkHash, Bytes>, Manifest, Vec<Page>) {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
    let (mut bytes, mut chunks, mut pages) = (Vec::new(), HashMap::new(), Vec::new());
    for n in 0..9000_u32 {
        let mut chunk = vec![0; CHUNK];
        if n == 0 {
            chunk.fill(1);
        }
        pages.extend(builder.push(Leaf::of(&chunk)).expect("a file").map(|(_, page)| page));
        bytes.push(chunk[0]);
        chunks.insert(ChunkHash::of(&chunk), Bytes::from(chunk));
    }
    let (manifest, last) = builder.finish().expect("a file");
    pages.extend(last.map(|(_, page)| page));
    (bytes, chunks, manifest, pages)
}

/// A chunk that is on its way to the file when a later page is looked at is at further
/// places, where it was not put.
#[tokio::test]
async fn a_chunk_that_recurs_in_later_pages_is_at_all_its_places() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let (downloads, _store, mut mock) = downloads();
    let (bytes, chunks, manifest, pages) = of_many_pages();
    assert!(pages.len() > 2, "{} pages", pages.len());
    let cid = manifest.cid();
    let _provider = tokio::spawn(async move {
        while let Some(command) = mock.next().await {
            match command {
                Command::ConnectedPeers { respond_to } => drop(respond_to.send(Vec::new())),
                Command::FindProviders { found, .. } => drop(found.send(PeerId::random()).await),
                Command::FetchMetadata { request, respond_to, .. } => {
                    let response = match request {
                        metadata::Request::Page { offset, .. } => {
                            let (index, _) = manifest.page_at(offset).expect("a byte of it");
                            let proof = manifest.prove_page(index).expect("a page of it");
                            let page = pages[usize::try_from(index).expect("few")].clone();
                            metadata::Response::Page(ProvenPage { index, page, proof })
                        }
                        _ => metadata::Response::Header((*manifest.header()).into()),
                    };
                    drop(respond_to.send(Ok(response)));
                }
                Command::FetchChunks { leaves, results, .. } => {
                    for leaf in leaves {
                        drop(results.send(Ok(chunks[&leaf.hash].clone())).await);
                    }
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    let options = GetOptions { link: true, ..to(&path) };
    downloads.get_and_wait(cid, options).await.expect("it is got");
    let file = fs::File::open(&path).expect("the file");
    for (n, byte) in (0_u64..).zip(bytes) {
        let mut found = [9];
        let at = n * CHUNK as u64;
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, at).expect("a byte");
        assert_eq!(found, [byte], "chunk {n}");
    }
    downloads.stop().await;
}

#[tokio::test]
async fn a_linked_file_that_its_owner_has_made_longer_stays() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let (downloads, store, mock) = downloads();
    let content = Content::of("abc");
    let _provider = tokio::spawn(content.clone().serve(mock, || {}));
    let options = GetOptions { link: true, force: true, ..to(&path) };
    downloads.get_and_wait(content.cid(), options.clone()).await.expect("it is got");
    for is_recorded in [true, false] {
        forget_the_end(&store, content.cid(), |record| {
            record.destinations[0].is_written = is_recorded;
        });
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("the file");
        std::io::Write::write_all(&mut file, b"more").expect("written");
        let edited = fs::read(&path).expect("the file");
        assert_eq!(resumed(&downloads, content.cid()).await, DownloadState::Done);
        assert!(fs::read(&path).expect("the file") == edited);
    }
    // What is asked for anew, with force, is written anew, although the job before had
    // written the same file and then failed.
    forget_the_end(&store, content.cid(), |record| {
        let (cause, kind) = ("another destination".to_owned(), tables::FailureKind::Other);
        record.state = DownloadState::Failed { cause, kind };
    });
    downloads.get_and_wait(content.cid(), options).await.expect("it is got");
    assert!(fs::read(&path).expect("the file") == content.bytes);
    downloads.stop().await;
}

/// The part of a linked download may be the only copy of content that is held.
#[tokio::test]
async fn a_plain_get_of_the_same_path_leaves_the_part_of_a_linked_one_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let (downloads, store, mock) = downloads();
    let content = Content::of("abc");
    let options = GetOptions { link: true, ..to(&path) };
    let mut partial = content.clone();
    partial.chunks.remove(&content.page.leaves()[2].hash);
    let provider = tokio::spawn(partial.serve(mock, || {}));
    fetch_a_part(&downloads, &content, options.clone(), 2).await;
    provider.abort();
    drop(downloads);
    let (downloads, mock) = next_run(&store);
    let appears = path.clone();
    let serve = content
        .clone()
        .serve(mock, move || fs::write(appears, "of another program").expect("written"));
    let provider = tokio::spawn(serve);
    let failed = downloads.get_and_wait(content.cid(), options).await;
    assert!(matches!(failed, Err(NodeError::Download { .. })), "{failed:?}");
    assert!(store.get::<Items>(&content.cid()).expect("a look").is_some(), "it is held");
    provider.abort();
    let parts = || {
        let entries = fs::read_dir(directory.path()).expect("a directory").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with("dfs-part")).count()
    };
    assert_eq!(parts(), 1, "the only copy");

    // A plain get that is cancelled at once, and one that is not.
    fs::remove_file(&path).expect("removed");
    downloads.get(content.cid(), to(&path)).await.expect("started");
    downloads.cancel(content.cid()).await;
    while downloads.active() > 0 {
        tokio::task::yield_now().await;
    }
    let held = content
        .page
        .leaves()
        .iter()
        .all(|leaf| downloads.shared.disk.store().chunk(&leaf.hash).expect("a look").is_some());
    assert!(held, "nothing is lost");
    let _ = fs::remove_file(&path);
    downloads.get_and_wait(content.cid(), to(&path)).await.expect("it is held");
    assert!(fs::read(&path).expect("the file") == content.bytes);
    assert_eq!(parts(), 0, "it is stored now");
    downloads.stop().await;
}
