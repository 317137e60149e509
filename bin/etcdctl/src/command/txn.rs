//! `txn`: conditions and requests, read line by line.

use super::{Context, kv};
use crate::args::{self, Del, Get, Put, Txn};
use crate::exit::Exit;
use crate::output::print;
use crate::{compare, line};
use clap::{Parser, Subcommand};
use client::Deadline;
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{RequestOp, TxnRequest};
use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::os::fd::AsFd;

/// One request of a transaction.
#[derive(Debug, Parser)]
#[command(name = "txn")]
struct Line {
    #[command(subcommand)]
    op: Op,
}

#[derive(Debug, Subcommand)]
enum Op {
    Get(Get),
    Put(Put),
    Del(Del),
}

/// Bytes that are read ahead of a line, as many as by the reference.
const AHEAD_BYTES: usize = 4096;

/// Where lines come from: standard input, whatever it is. What is typed ahead on a terminal waits in
/// the terminal or in the buffer, and is not lost. The buffer is this reader's own, so that others may
/// read what follows (a `put` whose value comes from standard input), and nobody waits for a lock.
pub(super) struct Lines(BufReader<File>);

impl Lines {
    pub(super) fn new() -> Result<Lines, Exit> {
        let input = File::from(stdin().as_fd().try_clone_to_owned()?);
        Ok(Lines(BufReader::with_capacity(AHEAD_BYTES, input)))
    }

    /// The next line, without its end. A last line without an end is none.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        line.pop_if(|last| *last == b'\n').map(|_| line).ok_or_else(|| "EOF".to_owned())
    }

    /// Reads lines up to an empty one.
    fn section<T>(&mut self, parse: fn(&[u8]) -> Result<T, Exit>) -> Result<Vec<T>, Exit> {
        let mut parsed = Vec::new();
        loop {
            let line = self.next().map_err(Exit::input)?;
            match line.trim_ascii() {
                b"" => return Ok(parsed),
                line => parsed.push(parse(line)?),
            }
        }
    }
}

fn parse_op(line: &[u8]) -> Result<RequestOp, Exit> {
    let words = line::words(line).map_err(Exit::input)?;
    let text = String::from_utf8_lossy(line);
    if words.len() < 2 {
        return Err(Exit::input(format!("invalid txn compare request: {text}")));
    }
    let line: Line =
        args::parse_line(words).map_err(|_| Exit::input(format!("invalid txn request: {text}")))?;
    let request = match line.op {
        Op::Get(get) => Request::RequestRange(kv::get_request(get)?),
        Op::Put(put) => Request::RequestPut(kv::put_request(put)?),
        Op::Del(del) => Request::RequestDeleteRange(kv::del_request(del)?),
    };
    Ok(RequestOp { request: Some(request) })
}

pub(super) async fn txn(context: &Context, txn: Txn) -> Result<(), Exit> {
    if !txn.args.is_empty() {
        return Err(Exit::args("txn command does not accept argument"));
    }
    let prompt = |text| if txn.interactive { print(format!("{text}\n")) } else { Ok(()) };
    let client = context.client().await?;
    let mut lines = Lines::new()?;
    prompt("compares:")?;
    let compare = lines.section(|line| {
        // Keys and values stand in quotation marks, where the reference replaces what is no text.
        compare::parse(&String::from_utf8_lossy(line)).map_err(Exit::input)
    })?;
    prompt("success requests (get, put, del):")?;
    let success = lines.section(parse_op)?;
    prompt("failure requests (get, put, del):")?;
    let failure = lines.section(parse_op)?;
    // The reference gives a transaction no time limit either.
    let request = TxnRequest { compare, success, failure };
    let answer = client.call(request, Deadline::NONE).await?;
    context.output.show(&answer)
}
