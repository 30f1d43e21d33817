//! `cargo xtask`: the tasks of this repository.
//!
//! Owns the command line; each task is a module of its own. The daemon and its
//! client do not link this crate. It needs only a Rust toolchain, so that `setup`
//! can run before the other requirements of the build are installed.

#![allow(clippy::print_stdout, reason = "a task prints its progress on standard output")]

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use lexopt::{Arg, Parser, ValueExt as _};

mod bench;
mod check;
mod daemon;
mod demo;
mod fuzz;
mod graph;
mod layers;
mod process;
mod sample;
mod setup;
mod tidy;
mod workspace;

use workspace::Workspace;

const HELP: &str = "\
cargo xtask COMMAND

  setup                     find what the build needs, and install it or say how
  test [-- FILTER...]       run all checks and tests; FILTER goes to the test runner
  ci [--advisories]         the same; --advisories adds the RustSec database
  layers                    check which crate depends on which
  tidy                      check rules about the source text
  demo [--size N] [FILE]    start two daemons, add on one, get on the other, compare;
                            N is in bytes, or 64K, 100M, 2G (powers of 1024)
  fuzz [--seconds N]        run every fuzz target for N seconds, by default 60
  bench dedup OLD NEW       print how many bytes NEW needs beyond OLD, per profile
  bench transfer [--size N] [--rounds N] [--write]
                            time add and get beside cp, nginx + curl, libtorrent and
                            sendme; --write puts the table into docs/benchmarks.md

Environment: CARGO_TARGET_DIR sets the target directory; KEEP_WORKDIR=1 keeps the
files of the demo.
";

fn main() -> ExitCode {
    match dispatch(Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(mut parser: Parser) -> Result<()> {
    let command = match parser.next()? {
        Some(Arg::Value(value)) => value.string()?,
        Some(Arg::Long("help") | Arg::Short('h')) | None => {
            print!("{HELP}");
            return Ok(());
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    let workspace = || Workspace::locate().context("reading the workspace");
    match command.as_str() {
        "setup" => no_more(parser).and_then(|()| setup::run()),
        "ci" | "test" => check::run(&workspace()?, &check_options(parser)?),
        "layers" => no_more(parser).and_then(|()| layers::run(&workspace()?)),
        "tidy" => no_more(parser).and_then(|()| tidy::run(&workspace()?)),
        "fuzz" => fuzz::run(&workspace()?, fuzz_seconds(parser)?),
        "bench" => bench(&workspace()?, parser),
        "demo" => demo::run(&workspace()?, &demo_options(parser)?),
        unknown => bail!("no command `{unknown}`; `cargo xtask --help` lists them"),
    }
}

fn no_more(mut parser: Parser) -> Result<()> {
    parser.next()?.map_or(Ok(()), |arg| Err(arg.unexpected().into()))
}

fn check_options(mut parser: Parser) -> Result<check::Options> {
    let mut options = check::Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("advisories") => options.advisories = true,
            Arg::Value(filter) => options.filters.push(filter.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

fn demo_options(mut parser: Parser) -> Result<demo::Options> {
    let mut options = demo::Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("size") => options.size = sample::parse_size(&parser.value()?.string()?)?,
            Arg::Value(file) if options.file.is_none() => options.file = Some(file.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

fn bench(workspace: &Workspace, mut parser: Parser) -> Result<()> {
    const USAGE: &str = "usage: cargo xtask bench dedup OLD NEW, or \
                         cargo xtask bench transfer [--size N] [--rounds N] [--write]";
    let name = match parser.next()? {
        Some(Arg::Value(name)) => name.string()?,
        _ => bail!("which measurement? {USAGE}"),
    };
    match name.as_str() {
        "dedup" => match parser.raw_args()?.collect::<Vec<_>>().as_slice() {
            [old, new] => bench::dedup(workspace, old.clone(), new.clone()),
            _ => bail!("`dedup` takes two files; {USAGE}"),
        },
        "transfer" => bench::transfer(workspace, &transfer_options(parser)?),
        unknown => bail!("no measurement `{unknown}`; {USAGE}"),
    }
}

fn transfer_options(mut parser: Parser) -> Result<bench::TransferOptions> {
    let mut options = bench::TransferOptions::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("size") => options.size = sample::parse_size(&parser.value()?.string()?)?,
            Arg::Long("rounds") => options.rounds = parser.value()?.parse()?,
            Arg::Long("write") => options.write = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

fn fuzz_seconds(mut parser: Parser) -> Result<u64> {
    let mut seconds = 60;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("seconds") => seconds = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(seconds)
}
