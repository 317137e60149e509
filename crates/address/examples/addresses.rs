//! Answers questions about addresses, one a line, for comparison with the reference: in goes
//! `{"op": "urls", "args": ["http://a:1"]}`, out comes `{"ok": ...}` or `{"refused": "why"}`.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a tool of tests

use address::{Endpoint, Error, Target, Url, Urls, UrlsByName};
use serde_json::{Value, json};
use std::io::{Write, stdin, stdout};

fn main() {
    let mut out = stdout().lock();
    for line in stdin().lines() {
        let question: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let args = question["args"].as_array().unwrap();
        let args: Vec<String> = args.iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
        let answer = match answer(question["op"].as_str().unwrap(), &args) {
            Ok(found) => json!({ "ok": found }),
            Err(error) => json!({ "refused": error.exact() }),
        };
        writeln!(out, "{answer}").unwrap();
    }
}

fn answer(op: &str, args: &[String]) -> Result<Value, Error> {
    let only = args.first().map(String::as_str).unwrap_or_default();
    Ok(match op {
        "parse" => {
            let url = Url::parse(only)?;
            json!([url.as_str(), url.scheme(), url.host()])
        }
        "urls" => json!(Urls::new(args)?.texts()),
        "named" => json!(UrlsByName::parse(only)?.to_string()),
        "split" => {
            let (host, port) = address::split_host_port(only)?;
            json!([host, port])
        }
        "ip" => json!(address::parse_ip(only).map(|ip| ip.to_string()).unwrap_or_default()),
        "bind" => json!(Urls::new(args)?.check_binding()?),
        "hosts" => json!(Urls::new(args)?.check_hosts()?),
        "same" => {
            let middle = args.len() / 2;
            let resolve = |url: &Url| address::resolve(url, &|_| Err("asked for a name".into()));
            json!(address::same(&args[..middle], &args[middle..], &resolve)?)
        }
        "endpoint" => {
            let endpoint = Endpoint::parse(only);
            let target = match endpoint.target {
                Target::Tcp(address) => address,
                Target::Unix(path) => path,
            };
            json!([target, endpoint.server_name])
        }
        other => panic!("unknown question {other}"),
    })
}
