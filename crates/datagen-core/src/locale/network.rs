//! What a shop's web server sees of a visitor: an address and a browser.

use std::net::Ipv4Addr;

use fake::faker::internet::raw::IPv4;
use fake::{Dummy, Fake, Faker};
use rand::RngExt;

use super::{CsCz, tables};
use crate::rng::Alias;
use crate::text::{Cursor, WriteText, text_value};

static USER_AGENT_WEIGHTS: Alias = Alias::new(tables::USER_AGENT_ALIAS);

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

/// A visitor's IPv4 address: public, so that nobody takes it for a host of their own network.
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

/// Whether hosts of the Internet have such addresses. Source: IANA IPv4 Special-Purpose Address Registry.
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
    use super::*;
    use crate::locale::test_rng;

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
