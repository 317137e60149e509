//! The address that a member advertises where it listens on 0.0.0.0 and nothing is said of it: the one by
//! which this machine reaches the rest of the world (reference: `pkg/netutil/routes_linux.go`,
//! `UpdateDefaultClusterFromName` in `server/embed/config.go`).
//!
//! The kernel is asked by netlink (`rtnetlink(7)`), whose dumps are messages of numbers in the machine's
//! own order, each followed by attributes, everything at multiples of four bytes:
//!
//! ```text
//! message    len:4 kind:2 flags:2 serial:4 port:4 | route or address | attributes
//! route      family:1 dst_len:1 src_len:1 tos:1 table:1 protocol:1 scope:1 kind:1 flags:4
//! address    family:1 prefix_len:1 flags:1 scope:1 interface:4
//! attribute  len:2 kind:2 value
//! ```

use crate::settings::{Settings, Urls};
use address::join_host_port;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What is advertised unless something is said, by etcd's members.
const PEERS: &str = "http://localhost:2380";
const CLIENTS: &str = "http://localhost:2379";
/// Listening on every address.
const EVERYWHERE: &str = "0.0.0.0";

/// What came of looking for the host.
pub(crate) struct DefaultHost {
    found: Result<IpAddr, String>,
    is_used: bool,
}

impl DefaultHost {
    /// Advertises what was found where a member that listens everywhere would say `localhost`.
    pub(crate) fn advertise(settings: &mut Settings, found: Result<IpAddr, String>) -> DefaultHost {
        let mut is_used = false;
        if let Ok(host) = &found {
            let (member, cluster) = (&settings.member, &mut settings.cluster);
            let mut replace = |listen: &Urls, advertised: &mut Urls, default: &str| {
                if let Some(list) = replaced(*host, listen, advertised, default) {
                    advertised.list = list;
                    is_used = true;
                }
            };
            replace(&member.listen_peer_urls, &mut cluster.initial_advertise_peer_urls, PEERS);
            replace(&member.listen_client_urls, &mut cluster.advertise_client_urls, CLIENTS);
        }
        DefaultHost { found, is_used }
    }

    /// Says what was found, if it matters.
    pub(crate) fn log(&self) {
        match &self.found {
            Ok(host) if self.is_used => {
                tracing::info!(%host, "detected default host for advertise");
            }
            Ok(_) => {}
            Err(error) => tracing::info!(error, "failed to detect default host"),
        }
    }
}

/// What to advertise in place of the default, with the port of the first address listened on.
fn replaced(
    host: IpAddr,
    listen: &Urls,
    advertised: &Urls,
    default: &str,
) -> Option<address::Urls> {
    let (name, port) = address::split_host_port(listen.list.iter().next()?.host()).ok()?;
    if name != EVERYWHERE || advertised.list.to_string() != default {
        return None;
    }
    let host = join_host_port(&host.to_string(), port);
    address::Urls::new(&[format!("http://{host}")]).ok()
}

const GET_ADDRESSES: u16 = 22;
const GET_ROUTES: u16 = 26;
/// Kinds of messages that come.
const DONE: u16 = 3;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// A request (1) for all there is (0x300).
const DUMP: u16 = 0x301;
const HEADER_LEN: usize = 16;
const ROUTE_LEN: usize = 12;
const ADDRESS_LEN: usize = 8;
const TABLE_MAIN: u8 = 254;
const FAMILY_NETLINK: i32 = 16;
/// Attributes of routes: the interface, the address to use as one's own.
const ROUTE_INTERFACE: u16 = 4;
const ROUTE_SOURCE: u16 = 7;
/// The attribute of an address that holds it.
const ADDRESS_ITSELF: u16 = 1;

/// How long the kernel may take, and how much it may say.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
const MESSAGES_BYTES: usize = 64 * 1024;

/// The address of this machine by which its default route goes.
///
/// # Errors
/// There is none, in the words of the reference.
pub(crate) fn find() -> Result<IpAddr, String> {
    find_with(&|kind, family| dump(kind, family).map_err(|error| crate::reason::reason(&error)))
}

/// Asks for a dump of messages, by kind and family.
type Ask<'a> = &'a dyn Fn(u16, u8) -> Result<Vec<u8>, String>;

fn find_with(ask: Ask<'_>) -> Result<IpAddr, String> {
    let routes = default_routes(&ask(GET_ROUTES, 0)?);
    if routes.is_empty() {
        return Err("could not find default route".into());
    }
    // IPv4, which has the lower number, comes first.
    for (family, attributes) in routes {
        let attribute = |wanted| {
            Attributes(&attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
        };
        if let Some(host) = attribute(ROUTE_SOURCE).and_then(address_of) {
            return Ok(host);
        }
        let interface = attribute(ROUTE_INTERFACE).and_then(|value| number(value, 0));
        let interface = interface.ok_or("could not find default route")?;
        if let Some(host) = address_on(&ask(GET_ADDRESSES, family)?, interface)? {
            return Ok(host);
        }
    }
    Err("could not find default host".into())
}

/// The attributes of the last default route of each family in the main table.
fn default_routes(dump: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut routes = BTreeMap::new();
    for (_, body) in Messages(dump).filter(|(kind, _)| *kind == NEW_ROUTE) {
        if let Some((&[family, dst_len, _, _, table, ..], attributes)) =
            body.split_first_chunk::<ROUTE_LEN>()
            && (dst_len, table) == (0, TABLE_MAIN)
        {
            routes.insert(family, attributes.to_vec());
        }
    }
    routes
}

/// The first address of an interface; none where the kernel does not say it.
fn address_on(dump: &[u8], interface: u32) -> Result<Option<IpAddr>, String> {
    for (_, body) in Messages(dump).filter(|(kind, _)| *kind == NEW_ADDRESS) {
        if number(body, 4) == Some(interface)
            && let Some(attributes) = body.get(ADDRESS_LEN..)
        {
            let itself = Attributes(attributes).find(|(kind, _)| *kind == ADDRESS_ITSELF);
            return Ok(itself.and_then(|(_, value)| address_of(value)));
        }
    }
    Err(format!("could not find address for interface index {interface}"))
}

fn address_of(value: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into())
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Messages by their kinds; what is cut off ends them.
struct Messages<'d>(&'d [u8]);

impl<'d> Iterator for Messages<'d> {
    type Item = (u16, &'d [u8]);

    fn next(&mut self) -> Option<(u16, &'d [u8])> {
        let (len, kind) = (number(self.0, 0)? as usize, short(self.0, 4)?);
        let body = self.0.get(HEADER_LEN..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    }
}

/// Attributes by their kinds; what is cut off ends them.
struct Attributes<'d>(&'d [u8]);

impl<'d> Iterator for Attributes<'d> {
    type Item = (u16, &'d [u8]);

    fn next(&mut self) -> Option<(u16, &'d [u8])> {
        let (len, kind) = (usize::from(short(self.0, 0)?), short(self.0, 2)?);
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Everything of a kind that the kernel knows.
fn dump(kind: u16, family: u8) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(Domain::from(FAMILY_NETLINK), Type::RAW, Some(Protocol::from(0)))?;
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut request = Vec::with_capacity(HEADER_LEN + 4);
    request.extend((HEADER_LEN as u32 + 4).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    // The serial, and the port, which the kernel fills in.
    request.extend([1_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat());
    request.extend([family, 0, 0, 0]);
    socket.send(&request)?;
    let (mut all, mut buffer) = (Vec::new(), vec![0; MESSAGES_BYTES]);
    while all.len() < ANSWER_BYTES_MAX {
        let n = socket.read(&mut buffer)?;
        all.extend_from_slice(&buffer[..n]);
        if n == 0 || Messages(&buffer[..n]).any(|(kind, _)| kind == DONE) {
            break;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Outcome, read};

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = (HEADER_LEN + body.len()) as u32;
        let mut bytes = [len.to_ne_bytes(), u32::from(kind).to_ne_bytes(), [0; 4], [0; 4]].concat();
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn route(family: u8, dst_len: u8, table: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let head = vec![family, dst_len, 0, 0, table, 0, 0, 0, 0, 0, 0, 0];
        message(NEW_ROUTE, &[head, attributes.concat()].concat())
    }

    fn on(family: u8, interface: u32, address: &[u8]) -> Vec<u8> {
        let head = [vec![family, 24, 0, 0], interface.to_ne_bytes().to_vec()].concat();
        message(NEW_ADDRESS, &[head, attribute(ADDRESS_ITSELF, address)].concat())
    }

    fn through(interface: u32) -> Vec<u8> {
        attribute(ROUTE_INTERFACE, &interface.to_ne_bytes())
    }

    fn found(routes: &[Vec<u8>], addresses: &[Vec<u8>]) -> Result<String, String> {
        let ask = |kind, family| {
            let of_family = addresses.iter().filter(|one| one[HEADER_LEN] == family).cloned();
            let done = message(DONE, &[0; 4]);
            let all = match kind {
                GET_ROUTES => routes.to_vec(),
                _ => of_family.collect(),
            };
            Ok([all.concat(), done].concat())
        };
        find_with(&ask).map(|host| host.to_string())
    }

    #[test]
    fn the_default_route_s_own_address_counts_or_else_the_first_of_its_interface() {
        let source = attribute(ROUTE_SOURCE, &[10, 0, 0, 7]);
        let v6 = Ipv6Addr::LOCALHOST.octets();
        let v6_route = route(10, 0, TABLE_MAIN, &[attribute(ROUTE_SOURCE, &v6), through(2)]);
        let near = route(2, 24, TABLE_MAIN, &[attribute(ROUTE_SOURCE, &[9, 9, 9, 9]), through(2)]);
        let elsewhere = route(2, 0, 255, &[attribute(ROUTE_SOURCE, &[8, 8, 8, 8]), through(2)]);
        let routes = [near, elsewhere, v6_route.clone()];
        let with = |more: Vec<u8>| [routes.to_vec(), vec![more]].concat();
        let given = with(route(2, 0, TABLE_MAIN, &[source, through(3)]));
        assert_eq!(found(&given, &[]).unwrap(), "10.0.0.7");
        let bare = with(route(2, 0, TABLE_MAIN, &[through(3)]));
        let addresses = [on(2, 1, &[127, 0, 0, 1]), on(2, 3, &[10, 0, 0, 3]), on(2, 3, &[1; 4])];
        assert_eq!(found(&bare, &addresses).unwrap(), "10.0.0.3");
        assert_eq!(found(&bare, &[]).unwrap_err(), "could not find address for interface index 3");
        assert_eq!(found(&[v6_route], &[]).unwrap(), "::1");
        assert_eq!(found(&routes[..2], &[]).unwrap_err(), "could not find default route");
    }

    #[test]
    fn cut_off_messages_are_passed_over() {
        let whole = route(2, 0, TABLE_MAIN, &[attribute(ROUTE_SOURCE, &[1; 4]), through(3)]);
        for len in 0..whole.len() {
            assert!(default_routes(&whole[..len]).is_empty(), "{len}");
            let mut short = whole.clone();
            short[0] = len as u8;
            let _ = found(&[short], &[]);
        }
        // What the kernel of this machine says can be read, whatever it is.
        let _ = find();
    }

    #[test]
    fn it_is_advertised_where_a_member_listens_everywhere_and_says_nothing() {
        let advertised = |args: &[&str], host: &str| {
            let Ok(Outcome::Run(mut settings, _)) =
                read(args.iter().map(Into::into), std::iter::empty())
            else {
                panic!("{args:?}")
            };
            let found = DefaultHost::advertise(&mut settings, Ok(host.parse().unwrap()));
            let cluster = &settings.cluster;
            let (peer, client) =
                (&cluster.initial_advertise_peer_urls, &cluster.advertise_client_urls);
            (peer.list.to_string(), client.list.to_string(), found.is_used)
        };
        let (v4, v6) = ("10.0.0.7", "fd00::7");
        let (default_peer, default_client) = (PEERS.to_owned(), CLIENTS.to_owned());
        let peers = "--listen-peer-urls=https://0.0.0.0:80";
        let everywhere = "--listen-client-urls=http://0.0.0.0:79";
        let unsaid = (default_peer.clone(), default_client.clone(), false);
        assert_eq!(advertised(&[], v4), unsaid);
        assert_eq!(advertised(&["--listen-peer-urls=http://10.0.0.1:80"], v4), unsaid);
        let found = ("http://10.0.0.7:80".to_owned(), default_client.clone(), true);
        assert_eq!(advertised(&[peers], v4), found);
        assert_eq!(
            advertised(&[peers, "--initial-advertise-peer-urls=http://h:1"], v4).0,
            "http://h:1"
        );
        assert_eq!(
            advertised(&[everywhere], v6),
            (default_peer, "http://[fd00::7]:79".into(), true)
        );
    }
}
