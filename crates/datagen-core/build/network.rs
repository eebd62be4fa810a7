//! Tables of user agents and IPv4 networks.

use std::net::Ipv4Addr;

use crate::input::{column, read, texts};
use crate::output::{Output, alias};

/// User agents, their weights among all, browsers and robots, and the robots' networks.
pub(crate) fn user_agents(out: &mut Output) {
    let agents = read("user_agents", 3);
    out.strings("USER_AGENTS", texts(&agents, 1));
    let weights = column(&agents, 0);
    let robot = |row: &Vec<String>| row[2] != "-";
    for (name, all, robots) in [
        ("USER_AGENT_ALIAS", true, false),
        ("BROWSER_ALIAS", false, false),
        ("ROBOT_ALIAS", false, true),
    ] {
        let weights = agents.iter().zip(&weights).map(
            |(row, weight)| {
                if all || robot(row) == robots { *weight } else { 0 }
            },
        );
        out.list(name, "(u32, u16)", &alias(&weights.collect::<Vec<_>>()));
    }
    let networks = agents.iter().map(|row| match row[2].as_str() {
        "-" => (0, 0),
        cidr => network(cidr),
    });
    out.list("ROBOT_NETWORKS", "(u32, u32)", &networks.collect::<Vec<_>>());
}

/// Networks that providers assign to homes.
pub(crate) fn homes(out: &mut Output) {
    let homes = read("home_networks", 2);
    let networks: Vec<_> = texts(&homes, 0).map(network).collect();
    out.list("HOME_NETWORKS", "(u32, u32)", &networks);
}

/// The first address of a network in CIDR notation, and how many addresses it has.
fn network(cidr: &str) -> (u32, u32) {
    let parsed = cidr.split_once('/').and_then(|(address, bits)| {
        let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
        let size = 1_u32.checked_shl(32 - bits.parse::<u32>().ok()?)?;
        (address % size == 0).then_some((address, size))
    });
    parsed.unwrap_or_else(|| panic!("not a network: {cidr}"))
}
