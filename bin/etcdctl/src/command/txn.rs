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
use rustyline::DefaultEditor;
use std::io::{BufRead, IsTerminal};

/// One request of a transaction.
#[derive(Debug, Parser)]
#[command(name = "txn", infer_subcommands = true)]
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

/// Where lines come from: a person who may edit them, or a file.
pub(super) enum Lines {
    Terminal(Box<DefaultEditor>),
    Input(std::io::StdinLock<'static>),
}

impl Lines {
    pub(super) fn new() -> Result<Lines, Exit> {
        if std::io::stdin().is_terminal() {
            let editor = DefaultEditor::new().map_err(Exit::error)?;
            return Ok(Lines::Terminal(Box::new(editor)));
        }
        Ok(Lines::Input(std::io::stdin().lock()))
    }

    /// The next line, without its end. A last line without an end is none.
    pub(super) fn next(&mut self) -> Result<String, String> {
        match self {
            Lines::Terminal(editor) => editor.readline("").map_err(|error| match error {
                rustyline::error::ReadlineError::Eof => "EOF".to_owned(),
                error => error.to_string(),
            }),
            Lines::Input(input) => {
                let mut line = String::new();
                input.read_line(&mut line).map_err(|error| error.to_string())?;
                line.strip_suffix('\n').map(str::to_owned).ok_or_else(|| "EOF".to_owned())
            }
        }
    }

    /// Reads lines up to an empty one.
    fn section<T>(&mut self, parse: fn(&str) -> Result<T, Exit>) -> Result<Vec<T>, Exit> {
        let mut parsed = Vec::new();
        loop {
            let line = self.next().map_err(Exit::input)?;
            match line.trim() {
                "" => return Ok(parsed),
                line => parsed.push(parse(line)?),
            }
        }
    }
}

fn parse_op(text: &str) -> Result<RequestOp, Exit> {
    let words = line::words(text).map_err(Exit::input)?;
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
    let compare = lines.section(|line| compare::parse(line).map_err(Exit::input))?;
    prompt("success requests (get, put, del):")?;
    let success = lines.section(parse_op)?;
    prompt("failure requests (get, put, del):")?;
    let failure = lines.section(parse_op)?;
    // The reference gives a transaction no time limit either.
    let request = TxnRequest { compare, success, failure };
    let answer = client.call(request, Deadline::NONE).await?;
    context.output.show(&answer)
}
