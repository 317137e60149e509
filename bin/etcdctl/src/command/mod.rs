//! One function per command.

mod cluster;
mod discovery;
mod endpoint;
mod kv;
mod lease;
mod password;
mod snapshot;
mod txn;
mod watch;

use crate::args::{Command, Global, Invocation};
use crate::exit::Exit;
use crate::log;
use crate::output::{Output, print};
use cli::secret::shown;
use client::{Client, Config, Credentials, Deadline, TlsFlags};
use tokio::sync::OnceCell;

/// The version that clients of this kind report.
const VERSION: &str = proto::VERSION;
const API_VERSION: &str = "3.7";

/// What every command works with.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) output: Output,
    /// Who the user is; asked once.
    credentials: OnceCell<Option<Credentials>>,
}

impl Context {
    /// A client of all endpoints.
    pub(crate) async fn client(&self) -> Result<Client, Exit> {
        self.client_of(self.endpoints().await?).await
    }

    /// The endpoints: those that are found by a domain, or else those that are given.
    pub(crate) async fn endpoints(&self) -> Result<Vec<String>, Exit> {
        let found = discovery::endpoints(&self.global).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        Ok(self.given_endpoints()?.iter().map(|name| name.trim().to_owned()).collect())
    }

    /// The endpoints of the flag; an empty list has none.
    ///
    /// # Errors
    /// A comma cuts through a password, whose pieces would be taken, and shown, for endpoints.
    pub(crate) fn given_endpoints(&self) -> Result<&[String], Exit> {
        let given = self.global.endpoints.as_slice();
        if address::is_cut_through(&given.join(",")) {
            let text = "--endpoints: a comma within user information must be written as %2C";
            return Err(Exit::args(text));
        }
        match given {
            [only] if only.is_empty() => Ok(&[]),
            given => Ok(given),
        }
    }

    /// A client of these endpoints that has a token if it needs one.
    pub(crate) async fn client_of(&self, endpoints: Vec<String>) -> Result<Client, Exit> {
        let client = self.bare_client_of(endpoints).await?;
        let login = client.login(Deadline::after(self.global.dial_timeout)).await;
        login.map_err(Exit::connection)?;
        Ok(client)
    }

    /// A client of these endpoints.
    pub(crate) async fn bare_client_of(&self, endpoints: Vec<String>) -> Result<Client, Exit> {
        self.output.check()?;
        if endpoints.is_empty() {
            return Err(Exit::connection("etcdclient: no available endpoints"));
        }
        let mut config = Config::new(endpoints);
        let global = &self.global;
        config.dial_timeout = global.dial_timeout;
        config.keepalive_interval = global.keepalive_time;
        config.keepalive_timeout = global.keepalive_timeout;
        let limit = |bytes: i64| usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        config.send_max_bytes = limit(global.max_request_bytes).unwrap_or(config.send_max_bytes);
        config.receive_max_bytes = limit(global.max_recv_bytes).unwrap_or(config.receive_max_bytes);
        config.credentials = self.credentials().await?;
        config.observer = Some(log::failed_call);
        let tls = TlsFlags {
            cert: global.cert.clone(),
            key: global.key.clone(),
            cacert: global.cacert.clone(),
            domain: discovery::secure_domain(global).to_owned(),
            insecure_transport: global.insecure_transport,
            insecure_skip_verify: global.insecure_skip_tls_verify,
        };
        config.tls = tls.settings();
        Client::new(config).map_err(Exit::args)
    }

    /// Who the user is; a password that is missing is asked for, once.
    async fn credentials(&self) -> Result<Option<Credentials>, Exit> {
        let global = &self.global;
        let found = self.credentials.get_or_try_init(|| async {
            if !global.auth_jwt_token.is_empty() {
                return Ok(Some(Credentials::Token(global.auth_jwt_token.clone())));
            }
            let (name, password) = match global.user.expose().split_once(':') {
                _ if global.user.is_empty() => return Ok(None),
                _ if !global.password.is_empty() => (global.user.expose(), global.password.clone()),
                Some((name, password)) => (name, password.into()),
                None => (global.user.expose(), password::ask("Password: ").await?),
            };
            // As with etcd's, an empty one asks for no token.
            let is_whole = !name.is_empty() && !password.is_empty();
            Ok(is_whole.then(|| Credentials::Password { name: name.to_owned(), password }))
        });
        found.await.cloned()
    }

    /// The command timeout, from now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.global.command_timeout)
    }
}

/// Waits until any endpoint was reached, for calls that then go on without a limit.
///
/// # Errors
/// None was within the dial timeout; why is logged.
pub(crate) async fn reach(client: &Client, method: &str) -> Result<(), Exit> {
    client.reach().await.map_err(|error| {
        log::failed_call(method, &error);
        Exit::connection(error)
    })
}

/// Whether a consistency flag asks for a serializable read.
fn is_serializable(consistency: &str) -> Result<bool, Exit> {
    match consistency {
        "s" => Ok(true),
        "l" => Ok(false),
        // The reference prints its flag for `get` here, whichever command was meant.
        _ => Err(Exit::feature(format!("unknown consistency flag {:?}", shown(consistency)))),
    }
}

/// Runs a command.
pub(crate) async fn run(invocation: Invocation) -> Result<(), Exit> {
    let Some(command) = invocation.command else {
        return Ok(crate::args::program().print_help()?);
    };
    let global = invocation.global;
    if let Command::Version = command {
        return print(format!("etcdctl version: {VERSION}\nAPI version: {API_VERSION}\n"));
    }
    let output = Output::new(&global.write_out, global.hex);
    let context = Context { global, output, credentials: OnceCell::new() };
    match command {
        Command::Get(args) => kv::get(&context, args).await,
        Command::Put(args) => kv::put(&context, args).await,
        Command::Del(args) => kv::del(&context, args).await,
        Command::Txn(args) => txn::txn(&context, args).await,
        Command::Compaction(args) => kv::compaction(&context, args).await,
        Command::Watch(args) => watch::watch(&context, args).await,
        Command::Lease(lease) => lease::lease(&context, lease).await,
        Command::Endpoint(endpoint) => endpoint::endpoint(&context, endpoint).await,
        Command::Member(member) => cluster::member(&context, member).await,
        Command::Alarm(alarm) => cluster::alarm(&context, alarm).await,
        Command::Defrag(args) => endpoint::defrag(&context, args).await,
        Command::Snapshot(snapshot) => snapshot::snapshot(&context, snapshot).await,
        Command::MoveLeader(args) => cluster::move_leader(&context, args).await,
        Command::Downgrade(downgrade) => cluster::downgrade(&context, downgrade).await,
        Command::Version => Ok(()),
    }
}
