//! `cargo xtask bench transfer`: what `dfsctl` takes for what users do, beside
//! other programs that move the same file, in one run.
//!
//! Contenders take turns within a round, and every other round runs backwards, so
//! that a slow minute of the machine meets all of them. Every round starts new
//! daemons with empty stores. Owns the order of a run; what a value means is in
//! `figures`, how the table looks in `report`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::contenders::{self, Contender, Installed};
use super::figures::{Figures, Unit, median};
use super::inner;
use super::machine;
use super::node::{self, Pair, text};
use super::report;
use crate::process;
use crate::sample;
use crate::workspace::Workspace;

/// Bytes of one small content.
const SMALL: u64 = 4096;
/// Small contents that are got one after the other.
const SMALL_COUNT: usize = 1000;
/// Commands at the same time.
const SMALL_AT_ONCE: usize = 8;
/// Contents of 1 KiB whose time is measured one by one.
const TINY_COUNT: usize = 20;
/// Downloads at the same time whose memory is measured, and the bytes of each.
const MANY_COUNT: usize = 30;
const MANY_BYTES: u64 = 64 << 20;
/// Bytes that version 2 has inserted in the middle.
const INSERTED: u64 = 1 << 20;
/// Lines of the table of numbers, about 290 MB, and those that version 2 has changed.
const CSV_LINES: u64 = 4_150_000;
const CSV_EDITED: u64 = 200;

/// The cases of the table.
pub(super) const MOVE: &str = "move a large file";
pub(super) const CPU: &str = "processor time per GiB, both ends";
pub(super) const ADD: &str = "add a large file";
pub(super) const WRITTEN: &str = "bytes written by an add, of the bytes of the file";
pub(super) const SMALL_FILES: &str = "1,000 contents of 4 KiB, one get each, 8 at a time";
pub(super) const FIRST_BYTE: &str = "1 KiB from a connected provider, inside of the node";
pub(super) const TINY: &str = "get of 1 KiB, the whole command";
pub(super) const MEMORY: &str = "peak memory of a daemon";
pub(super) const VERSION: &str = "fetched for a version with 1 MiB inserted";
pub(super) const CSV_VERSION: &str = "fetched for a CSV file with 200 of 4,150,000 lines edited";

/// Names of our own rows.
pub(super) const GET: &str = "dfs get";
pub(super) const GET_LINKED: &str = "dfs get --link";
pub(super) const GET_DISCARDED: &str = "dfs get -o - > /dev/null";
pub(super) const RAW: &str = "raw: the network alone, zeros, no store";
pub(super) const TO_FIRST_BYTE: &str = "to the first byte";
const TO_LAST_BYTE: &str = "to the end of the download";
pub(super) const DFS_ADD: &str = "dfs add";
pub(super) const DFS_ADD_HELD: &str = "dfs add, held already";
pub(super) const DFS_ADD_LINKED: &str = "dfs add --link";
pub(super) const ONLY_HASH: &str = "dfs add --only-hash";
pub(super) const COPY: &str = "cp + sync";

/// What the user has asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// Bytes of the large file.
    pub(crate) size: u64,
    pub(crate) rounds: usize,
    /// Whether `docs/benchmarks.md` is rewritten.
    pub(crate) write: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { size: 1 << 30, rounds: 4, write: false }
    }
}

/// Runs all measurements and prints the table.
pub(crate) fn transfer(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "this measurement reads /proc, so it needs Linux");
    println!("Building the release binaries.");
    process::run(&mut workspace.cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "dfsd",
        "--package",
        "dfsctl",
    ]))?;
    inner::build(workspace)?;
    let work = tempfile::Builder::new().prefix("dfs-bench-").tempdir();
    let work = work.context("a work directory")?;
    let run =
        Run { bin_dir: workspace.release_dir(), work: work.path().to_owned(), size: options.size };
    let Installed { mut contenders, absent } = contenders::installed(&run.work)?;
    for name in &absent {
        println!("Left out: {name}.");
    }
    let large = run.work.join("source").join("large");
    fs::create_dir(run.work.join("source")).context("creating a directory")?;
    sample::write(&large, options.size, 0)?;

    let mut figures = Figures::default();
    for round in 0..options.rounds {
        println!("Round {} of {}.", round + 1, options.rounds);
        run.round(round, &large, &mut contenders, &mut figures)?;
        inner_figures(workspace, &mut figures)?;
    }
    println!("Memory and versions.");
    run.many(&mut figures)?;
    run.versions(&large, &mut figures)?;

    let report = report::Report {
        figures: &figures,
        absent: &absent,
        machine: machine::describe(&run.work),
        size: options.size,
    };
    println!("\n{}", report.table());
    if options.write {
        report.write(&workspace.root.join("docs"))?;
    }
    Ok(())
}

/// What the benches of our crates measure.
fn inner_figures(workspace: &Workspace, figures: &mut Figures) -> Result<()> {
    let raw = inner::run(workspace, inner::RAW)?;
    figures.add(MOVE, RAW, Unit::MbPerSecond, inner::figure(&raw, "mb_per_second")?);
    figures.add(CPU, RAW, Unit::CpuSeconds, inner::figure(&raw, "cpu_seconds_per_gib")?);
    let small = inner::run(workspace, inner::FIRST_BYTE)?;
    figures.add(FIRST_BYTE, TO_FIRST_BYTE, Unit::Ms, inner::figure(&small, "first_byte_ms")?);
    figures.add(FIRST_BYTE, TO_LAST_BYTE, Unit::Ms, inner::figure(&small, "whole_ms")?);
    Ok(())
}

/// Where a run works.
struct Run {
    bin_dir: PathBuf,
    work: PathBuf,
    size: u64,
}

impl Run {
    /// Every contender once.
    fn round(
        &self,
        round: usize,
        large: &Path,
        contenders: &mut [Box<dyn Contender>],
        figures: &mut Figures,
    ) -> Result<()> {
        let backwards = round % 2 == 1;
        if backwards {
            self.nodes(round, large, figures)?;
            contenders.iter_mut().rev().try_for_each(|one| self.rival(large, &mut **one, figures))
        } else {
            contenders.iter_mut().try_for_each(|one| self.rival(large, &mut **one, figures))?;
            self.nodes(round, large, figures)
        }
    }

    fn rival(&self, large: &Path, one: &mut dyn Contender, figures: &mut Figures) -> Result<()> {
        let dir = self.fresh_dir()?;
        let took = one.fetch(large, &dir).with_context(|| one.name().to_owned())?;
        figures.add(MOVE, one.name(), Unit::MbPerSecond, self.rate(took));
        if one.name() == COPY {
            figures.add(ADD, one.name(), Unit::MbPerSecond, self.rate(took));
        }
        fs::remove_dir_all(&dir).context("removing a copy")
    }

    /// Our own daemons.
    fn nodes(&self, round: usize, large: &Path, figures: &mut Figures) -> Result<()> {
        let dir = self.fresh_dir()?;
        let pair = Pair::start(&self.bin_dir, &dir)?;
        let (hashed, _) = node::run(&pair.provider, &["add", "--only-hash", text(large)?])?;
        figures.add(ADD, ONLY_HASH, Unit::MbPerSecond, self.rate(hashed));
        let (cid, added) = node::publish(&pair.provider, large)?;
        figures.add(ADD, DFS_ADD, Unit::MbPerSecond, self.rate(added));
        sync()?;
        let written = machine::bytes_written(pair.provider.pid())?;
        let percent = written as f64 * 100.0 / self.size as f64;
        figures.add(WRITTEN, DFS_ADD, Unit::Percent, percent);
        let (again, _) = node::run(&pair.provider, &["add", text(large)?])?;
        figures.add(ADD, DFS_ADD_HELD, Unit::MbPerSecond, self.rate(again));

        let out = dir.join("out");
        let pair = self.get(pair, &cid, &out, large, GET, figures)?;
        let pair = self.get(pair, &cid, &out, large, GET_LINKED, figures)?;
        sync()?;
        let read = node::get_discarded(&pair.fetcher, &cid)?;
        figures.add(MOVE, GET_DISCARDED, Unit::MbPerSecond, self.rate(read));
        let provider = peak(pair.provider.pid())?;
        figures.add(MEMORY, "provider, one add and three gets", Unit::Mb, provider);
        self.small(round, &pair, figures)?;

        let pair = pair.with_new_fetcher(&self.bin_dir)?;
        sync()?;
        let before = machine::bytes_written(pair.fetcher.pid())?;
        let (linked, _) = node::run(&pair.fetcher, &["add", "--link", text(large)?])?;
        figures.add(ADD, DFS_ADD_LINKED, Unit::MbPerSecond, self.rate(linked));
        sync()?;
        let written = machine::bytes_written(pair.fetcher.pid())? - before;
        let percent = written as f64 * 100.0 / self.size as f64;
        figures.add(WRITTEN, DFS_ADD_LINKED, Unit::Percent, percent);
        pair.stop()?;
        fs::remove_dir_all(&dir).context("removing the stores")
    }

    /// One get of the large file by a fetcher that holds nothing; another such fetcher
    /// takes its place.
    fn get(
        &self,
        pair: Pair,
        cid: &str,
        out: &Path,
        large: &Path,
        contender: &'static str,
        figures: &mut Figures,
    ) -> Result<Pair> {
        sync()?;
        let before = pair.cpu_seconds()?;
        let options: &[&str] = if contender == GET_LINKED { &["--link"] } else { &[] };
        let got = node::get(&pair.fetcher, cid, out, options)?;
        let cpu = pair.cpu_seconds()? - before;
        figures.add(MOVE, contender, Unit::MbPerSecond, self.rate(got));
        let per_gib = cpu * f64::from(1 << 30) / self.size as f64;
        figures.add(CPU, contender, Unit::CpuSeconds, per_gib);
        sample::compare(large, out)?;
        fs::remove_file(out).context("removing a copy")?;
        let name = format!("fetcher, one {contender}");
        figures.add(MEMORY, &name, Unit::Mb, peak(pair.fetcher.pid())?);
        pair.with_new_fetcher(&self.bin_dir)
    }

    /// Many small contents, and single ones.
    fn small(&self, round: usize, pair: &Pair, figures: &mut Figures) -> Result<()> {
        let dir = self.work.join("small");
        fs::create_dir(&dir).context("creating a directory")?;
        let path = |n: usize| text(&dir.join(n.to_string())).map(str::to_owned);
        let seed = |n: usize| (1 + round * 1_000_000 + n) as u64;
        for n in 0..SMALL_COUNT {
            sample::write(&dir.join(n.to_string()), SMALL, seed(n))?;
        }
        let adds = (0..SMALL_COUNT).map(|n| Ok(vec!["add".to_owned(), path(n)?]));
        let adds = adds.collect::<Result<Vec<_>>>()?;
        let (_, cids) = node::run_all(&pair.provider, &adds, SMALL_AT_ONCE)?;
        let provides: Vec<_> =
            cids.iter().map(|cid| vec!["provide".to_owned(), cid.clone()]).collect();
        node::run_all(&pair.provider, &provides, SMALL_AT_ONCE)?;
        let gets = cids.iter().enumerate().map(|(n, cid)| {
            Ok(vec!["get".to_owned(), cid.clone(), "-o".to_owned(), path(n)? + ".got"])
        });
        let gets = gets.collect::<Result<Vec<_>>>()?;
        let (took, _) = node::run_all(&pair.fetcher, &gets, SMALL_AT_ONCE)?;
        let rate = SMALL_COUNT as f64 / took.as_secs_f64();
        figures.add(SMALL_FILES, GET, Unit::PerSecond, rate);
        for n in [0, SMALL_COUNT - 1] {
            sample::compare(&dir.join(n.to_string()), &dir.join(format!("{n}.got")))?;
        }

        let mut times = Vec::with_capacity(TINY_COUNT);
        for n in 0..TINY_COUNT {
            let tiny = dir.join(format!("tiny-{n}"));
            sample::write(&tiny, 1024, seed(SMALL_COUNT + n))?;
            let (cid, _) = node::publish(&pair.provider, &tiny)?;
            let took = node::get(&pair.fetcher, &cid, &dir.join(format!("tiny-{n}.got")), &[])?;
            times.push(took.as_secs_f64() * 1000.0);
        }
        figures.add(TINY, GET, Unit::Ms, median(&times));
        fs::remove_dir_all(&dir).context("removing small files")
    }

    /// Many downloads at once.
    fn many(&self, figures: &mut Figures) -> Result<()> {
        let dir = self.fresh_dir()?;
        let pair = Pair::start(&self.bin_dir, &dir)?;
        let mut gets = Vec::with_capacity(MANY_COUNT);
        for n in 0..MANY_COUNT {
            let path = dir.join("sample");
            sample::write(&path, MANY_BYTES, 500 + n as u64)?;
            let (cid, _) = node::publish(&pair.provider, &path)?;
            let out = text(&dir.join(format!("out-{n}")))?.to_owned();
            gets.push(vec!["get".to_owned(), cid, "-o".to_owned(), out]);
        }
        node::run_all(&pair.fetcher, &gets, MANY_COUNT)?;
        let fetcher = peak(pair.fetcher.pid())?;
        figures.add(MEMORY, "fetcher, 30 gets of 64 MiB at once", Unit::Mb, fetcher);
        let provider = peak(pair.provider.pid())?;
        figures.add(MEMORY, "provider, 30 gets of 64 MiB at once", Unit::Mb, provider);
        pair.stop()?;
        fs::remove_dir_all(&dir).context("removing the stores")
    }

    /// Versions of files, where the first one is held.
    fn versions(&self, large: &Path, figures: &mut Figures) -> Result<()> {
        let dir = self.fresh_dir()?;
        let (first, second) = (dir.join("first"), dir.join("second"));
        sample::write_with_insertion(large, &second, self.size / 2, INSERTED)?;
        figures.add(VERSION, GET, Unit::Percent, self.fetched(&dir, large, &second)?);
        sample::write_csv(&first, CSV_LINES, 0)?;
        sample::write_csv(&second, CSV_LINES, CSV_EDITED)?;
        figures.add(CSV_VERSION, GET, Unit::Percent, self.fetched(&dir, &first, &second)?);
        fs::remove_dir_all(&dir).context("removing the files")
    }

    /// What a node that has the first version fetches for the second, in percent of it.
    fn fetched(&self, dir: &Path, first: &Path, second: &Path) -> Result<f64> {
        let (nodes, out) = (dir.join("nodes"), dir.join("out"));
        fs::create_dir(&nodes).context("creating a directory")?;
        let pair = Pair::start(&self.bin_dir, &nodes)?;
        let (cid, _) = node::publish(&pair.provider, second)?;
        node::run(&pair.fetcher, &["add", text(first)?])?;
        node::get(&pair.fetcher, &cid, &out, &[])?;
        let (_, status) = node::run(&pair.fetcher, &["download-status", &cid, "--json"])?;
        let status: serde_json::Value = serde_json::from_str(&status).context("no JSON")?;
        let fetched = status["bytes_fetched"].as_f64().context("no bytes_fetched")?;
        pair.stop()?;
        fs::remove_file(out).context("removing the file")?;
        fs::remove_dir_all(&nodes).context("removing the stores")?;
        Ok(fetched * 100.0 / fs::metadata(second).context("the file")?.len() as f64)
    }

    /// An empty directory, once nothing is left to be written back.
    fn fresh_dir(&self) -> Result<PathBuf> {
        let dir = self.work.join("run");
        fs::create_dir(&dir).context("creating a directory")?;
        sync()?;
        Ok(dir)
    }

    fn rate(&self, took: Duration) -> f64 {
        self.size as f64 / 1e6 / took.as_secs_f64()
    }
}

/// Peak memory of a process in MB.
fn peak(pid: u32) -> Result<f64> {
    Ok(machine::peak_memory(pid)? as f64 / 1e6)
}

fn sync() -> Result<()> {
    process::run(&mut Command::new("sync"))
}
