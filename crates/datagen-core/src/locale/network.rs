//! The IP address and the browser of a visitor, as a web server sees them.

use std::net::Ipv4Addr;

use fake::faker::internet::raw::IPv4;
use fake::{Dummy, Fake, Faker};
use rand::RngExt;

use super::{CsCz, tables};
use crate::rng::Alias;
use crate::text::{Cursor, WriteText, text_value};

static USER_AGENT_WEIGHTS: Alias = Alias::new(tables::USER_AGENT_ALIAS);
static BROWSER_WEIGHTS: Alias = Alias::new(tables::BROWSER_ALIAS);
static ROBOT_WEIGHTS: Alias = Alias::new(tables::ROBOT_ALIAS);

/// The number of addresses that each robot uses in its network. Source: our choice.
const ADDRESSES_PER_ROBOT: u64 = 16;

/// A browser's (or a crawler's) user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserAgent(u16);
text_value!(UserAgent);

/// Drawn in proportion to the browsers' shares.
impl Dummy<Faker> for UserAgent {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(_: &Faker, rng: &mut R) -> Self {
        Self(USER_AGENT_WEIGHTS.pick(rng) as u16)
    }
}

impl UserAgent {
    /// The browser that the random word `word` draws, in proportion to the browsers' shares.
    #[inline]
    pub(crate) fn browser(word: u64) -> Self {
        Self(BROWSER_WEIGHTS.pick_with(word) as u16)
    }

    /// The robot that the random word `word` draws.
    pub(crate) fn robot(word: u64) -> Self {
        Self(ROBOT_WEIGHTS.pick_with(word) as u16)
    }

    /// Whether it is the user agent of a robot.
    pub fn is_robot(self) -> bool {
        tables::ROBOT_NETWORKS[usize::from(self.0)].1 > 0
    }

    /// The whole string.
    pub fn as_str(self) -> &'static str {
        tables::USER_AGENTS[usize::from(self.0)]
    }
}

impl WriteText for UserAgent {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        out.push_str(self.as_str());
    }
}

/// A visitor's IPv4 address. It is public, so it cannot be mistaken for the address of a host in a private network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientIp(pub Ipv4Addr);
text_value!(ClientIp);

impl Dummy<Faker> for ClientIp {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(_: &Faker, rng: &mut R) -> Self {
        loop {
            let address: Ipv4Addr = IPv4(CsCz).fake_with_rng(rng);
            if is_public(address) {
                return Self(address);
            }
        }
    }
}

/// Cumulative sizes of the home networks: entry i is the number of addresses of networks 0 to i.
static HOME_ADDRESSES: [u32; tables::HOME_NETWORKS.len()] = {
    let mut sums = [0; tables::HOME_NETWORKS.len()];
    let (mut index, mut sum) = (0, 0);
    while index < sums.len() {
        sum += tables::HOME_NETWORKS[index].1;
        sums[index] = sum;
        index += 1;
    }
    sums
};

impl ClientIp {
    /// The address of a Czech household that the random word `word` draws.
    #[inline]
    pub(crate) fn czech_home(word: u64) -> Self {
        let all = HOME_ADDRESSES[HOME_ADDRESSES.len() - 1];
        let index = (((word >> 32) * u64::from(all)) >> 32) as u32;
        let network = HOME_ADDRESSES.partition_point(|&sum| sum <= index);
        let (first, size) = tables::HOME_NETWORKS[network];
        Self::host(first + (HOME_ADDRESSES[network] - 1 - index) % size)
    }

    /// The address of a robot that the random word `word` draws: one of a few in its operator's network.
    pub(crate) fn of_robot(robot: UserAgent, word: u64) -> Self {
        let (first, size) = tables::ROBOT_NETWORKS[usize::from(robot.0)];
        let index = ((u128::from(word) * u128::from(ADDRESSES_PER_ROBOT)) >> 64) as u32;
        Self::host(first + index * (size / ADDRESSES_PER_ROBOT as u32))
    }

    /// The address, or a neighbouring one if its last octet is 0 or 255, which hosts rarely have.
    #[inline]
    fn host(address: u32) -> Self {
        let address = match address & 0xff {
            0 => address | 0x55,
            0xff => address ^ 0x55,
            _ => address,
        };
        Self(address.into())
    }
}

/// Whether hosts on the public Internet can have this address. Source: IANA IPv4 Special-Purpose Address Registry.
fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let special = a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0)
        || (a == 198 && (b == 18 || b == 19))
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation();
    !special
}

impl WriteText for ClientIp {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        let [a, b, c, d] = self.0.octets();
        out.push_number(u64::from(a));
        for octet in [b, c, d] {
            out.push_ascii(b'.');
            out.push_number(u64::from(octet));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::locale::test_rng;

    #[test]
    fn homes_are_in_the_listed_networks_and_robots_in_their_operators() {
        let inside =
            |ip: ClientIp, (first, size): (u32, u32)| (first..=first + (size - 1)).contains(&u32::from(ip.0));
        let mut seen = vec![0; tables::HOME_NETWORKS.len()];
        for id in 0..50_000 {
            let rng = &mut test_rng(id);
            let ip = ClientIp::czech_home(rng.next_u64());
            let network = tables::HOME_NETWORKS
                .iter()
                .position(|&network| inside(ip, network));
            seen[network.unwrap_or_else(|| panic!("{ip} is in no home network"))] += 1;
            assert!(is_public(ip.0) && !matches!(ip.0.octets()[3], 0 | 255), "{ip}");

            let robot = UserAgent::robot(rng.next_u64());
            assert!(
                robot.is_robot() && robot.as_str().to_lowercase().contains("bot"),
                "{robot}"
            );
            let ip = ClientIp::of_robot(robot, rng.next_u64());
            assert!(
                inside(ip, tables::ROBOT_NETWORKS[usize::from(robot.0)]),
                "{robot} {ip}"
            );
            let browser = UserAgent::browser(rng.next_u64());
            assert!(
                !browser.is_robot() && !browser.as_str().contains("bot"),
                "{browser}"
            );
        }
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    }

    #[test]
    fn addresses_are_public_and_written_as_usual() {
        for id in 0..10_000 {
            let ip: ClientIp = Faker.fake_with_rng(&mut test_rng(id));
            assert_eq!(ip.to_string(), ip.0.to_string());
            assert!(
                !ip.0.is_private() && !ip.0.is_loopback() && !ip.0.is_multicast(),
                "{ip}"
            );
        }
    }
}
