//! A visitor's session in the shop: pageviews, and sometimes a star rating after them.
//!
//! Session n is a pure function of the seed. Most pageviews are of pages of products, so that pageviews join
//! products and, by user, orders and stars.

use std::time::Duration;

use fake::{Fake, Faker};
use rand_distr::{Distribution, Normal, StandardNormal};
use serde::{Serialize, Serializer};

use super::product::{PageUri, Pages, SHOP};
use crate::locale::network::{ClientIp, UserAgent};
use crate::rng::{Kind, RecordRng, RecordSeed, below, chance};
use crate::text::{Cursor, TextBuf, WriteText, text_value};

/// The most pageviews of a session; the fewest are 1.
pub const MAX_PAGEVIEWS: u64 = 30;

/// One pageview in this many has no client IP: something to clean.
pub const EMPTY_IP_ONE_IN: u64 = 100;

/// One pageview in this many has an outlier as its latency: something to detect.
pub const OUTLIER_ONE_IN: u64 = 100;

/// One session in this many ends with a star rating.
pub const STARS_ONE_IN: u64 = 50;

/// One pageview in this many is of a page that is not a product's.
pub const OTHER_PAGE_ONE_IN: u64 = 10;

/// All nine HTTP methods (RFC 9110 § 9, RFC 5789).
pub const HTTP_METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// The methods in 64ths: mostly GET, as in a shop, but enough of the others to count them.
static METHOD_SLOTS: [u8; 64] = {
    let shares = [34, 4, 10, 4, 3, 1, 3, 1, 4];
    let mut slots = [0; 64];
    let (mut method, mut next) = (0, 0);
    while method < shares.len() {
        let end = next + shares[method];
        while next < end {
            slots[next] = method as u8;
            next += 1;
        }
        method += 1;
    }
    assert!(next == slots.len(), "the shares are 64ths");
    slots
};

/// Pages of the shop that are not a product's.
pub const OTHER_PAGES: [&str; 8] = [
    "/",
    "/hledani",
    "/kosik",
    "/pokladna",
    "/prihlaseni",
    "/ucet",
    "/kategorie",
    "/kontakt",
];

/// Latencies of outliers, milliseconds, both inclusive.
pub const OUTLIER_RANGE: (u64, u64) = (500, 5_000);

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The wait before it, in standard normal units; see [`Pause::before`].
    pause: f64,
    /// Who: 0 to USER_MAX_ID.
    pub user_id: u64,
    /// From where.
    pub client_ip: ClientIp,
    /// With which browser.
    pub user_agent: UserAgent,
    /// How many pageviews.
    pub pageview_count: u64,
    /// The rating after the session, if any: 1 to 5.
    pub stars: Option<u8>,
    /// Draws the pageviews.
    rng: RecordRng,
    products: u64,
}

/// One request of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pageview {
    /// Index into [`HTTP_METHODS`].
    method: u8,
    /// What was looked at.
    pub uri: Uri,
    /// `None` where the address is missing.
    pub client_ip: Option<ClientIp>,
    /// How long the answer took.
    pub latency: Latency,
}

/// The address of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uri {
    /// One of a product's `pages`.
    Product(PageUri),
    /// Another page of the shop: index into [`OTHER_PAGES`].
    Other(u8),
}
text_value!(Uri);

impl WriteText for Uri {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        match self {
            Self::Product(page) => page.write_text(out),
            Self::Other(index) => {
                out.push_str(SHOP);
                out.push_str(OTHER_PAGES[usize::from(*index)]);
            }
        }
    }
}

/// A time in whole microseconds, written as milliseconds.
///
/// Rounded, so that the bytes do not depend on the last bits of a platform's floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Latency {
    /// Microseconds.
    pub micros: u32,
}

impl Latency {
    /// Whether it is one of the planted outliers, or as slow as one.
    pub fn is_outlier(self) -> bool {
        u64::from(self.micros) >= OUTLIER_RANGE.0 * 1_000
    }

    /// Appends the milliseconds as a JSON number with one to three decimals, as `serde_json` writes an
    /// `f64`: `200.0`, `187.25`.
    #[inline]
    fn write_json(self, out: &mut Cursor<'_>) {
        out.push_number(u64::from(self.micros / 1_000));
        out.push_ascii(b'.');
        let decimals = self.micros % 1_000;
        match (decimals.is_multiple_of(100), decimals.is_multiple_of(10)) {
            (true, _) => out.push_digits::<1>(decimals / 100),
            (_, true) => out.push_digits::<2>(decimals / 10),
            _ => out.push_digits::<3>(decimals),
        }
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.micros) / 1_000.0)
    }
}

/// The sessions of one seed.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    seed: RecordSeed,
    users: u64,
    products: u64,
}

impl Sessions {
    /// The sessions of `seed`, of users 0 to `user_max_id` looking at products 0 to `product_max_id`.
    pub fn new(seed: u64, user_max_id: u64, product_max_id: u64) -> Self {
        Self {
            seed: RecordSeed::new(seed, Kind::Session),
            users: user_max_id + 1,
            products: product_max_id + 1,
        }
    }

    /// Session `id`, from 0.
    pub fn get(&self, id: u64) -> Session {
        let rng = &mut self.seed.rng(id);
        Session {
            pause: StandardNormal.sample(rng),
            user_id: below(rng, self.users),
            client_ip: Faker.fake_with_rng(rng),
            user_agent: Faker.fake_with_rng(rng),
            pageview_count: 1 + below(rng, MAX_PAGEVIEWS),
            stars: chance(rng, 1, STARS_ONE_IN).then(|| 1 + below(rng, 5) as u8),
            rng: rng.clone(),
            products: self.products,
        }
    }
}

/// The distribution of the waits between sessions: |N(mean, stddev)|.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pause {
    /// Seconds; 0 is no wait at all.
    pub mean: f64,
    /// Seconds.
    pub stddev: f64,
}

impl Pause {
    /// The wait before `session`.
    pub fn before(self, session: &Session) -> Duration {
        if self.mean == 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64((self.mean + self.stddev * session.pause).abs()).unwrap_or(Duration::MAX)
    }
}

impl Session {
    /// The pageviews, in their order.
    #[inline]
    pub fn pageviews(&self) -> impl Iterator<Item = Pageview> {
        let mut rng = self.rng.clone();
        (0..self.pageview_count).map(move |_| self.pageview(&mut rng))
    }

    #[inline]
    fn pageview(&self, rng: &mut RecordRng) -> Pageview {
        // One word decides the small things.
        let draw = below(
            rng,
            64 * OTHER_PAGE_ONE_IN * 24 * EMPTY_IP_ONE_IN * OUTLIER_ONE_IN,
        );
        let (method, draw) = (METHOD_SLOTS[draw as usize % 64], draw / 64);
        let (other, draw) = (draw % OTHER_PAGE_ONE_IN == 0, draw / OTHER_PAGE_ONE_IN);
        let (page, draw) = (draw % 24, draw / 24);
        let (no_ip, outlier) = (draw % EMPTY_IP_ONE_IN == 0, draw / EMPTY_IP_ONE_IN == 0);
        let uri = if other {
            Uri::Other((page % 8) as u8)
        } else {
            Uri::Product(Pages::of(below(rng, self.products)).as_array()[(page % 3) as usize])
        };
        Pageview {
            method,
            uri,
            client_ip: (!no_ip).then_some(self.client_ip),
            latency: if outlier {
                outlier_latency(rng)
            } else {
                usual_latency(rng)
            },
        }
    }

    /// Appends the session's pageview as one JSON object, without a line feed.
    #[inline]
    pub fn write_pageview_json(&self, pageview: &Pageview, out: &mut TextBuf) {
        out.append(640, |out| {
            out.push_str("{\"user_id\":");
            out.push_number(self.user_id);
            out.push_str(",\"http_method\":\"");
            out.push_str(pageview.http_method());
            out.push_str("\",\"uri\":\"");
            pageview.uri.write_text(out);
            out.push_str("\",\"client_ip\":\"");
            if let Some(ip) = pageview.client_ip {
                ip.write_text(out);
            }
            out.push_str("\",\"user_agent\":\"");
            self.user_agent.write_text(out);
            out.push_str("\",\"latency\":");
            pageview.latency.write_json(out);
            out.push_ascii(b'}');
        });
    }

    /// Appends the session's star rating as one JSON object, without a line feed, if there is one.
    pub fn write_stars_json(&self, out: &mut TextBuf) -> bool {
        let Some(stars) = self.stars else { return false };
        out.append(64, |out| {
            out.push_str("{\"user_id\":");
            out.push_number(self.user_id);
            out.push_str(",\"stars\":");
            out.push_number(u64::from(stars));
            out.push_ascii(b'}');
        });
        true
    }
}

impl Pageview {
    /// The HTTP method.
    pub fn http_method(&self) -> &'static str {
        HTTP_METHODS[usize::from(self.method)]
    }
}

/// |N(200 ms, 50 ms)|.
#[inline]
fn usual_latency(rng: &mut RecordRng) -> Latency {
    let millis: f64 = Normal::new(200.0, 50.0).expect("a finite deviation").sample(rng);
    Latency {
        micros: (millis.abs() * 1_000.0).round() as u32,
    }
}

/// Uniform in [`OUTLIER_RANGE`].
fn outlier_latency(rng: &mut RecordRng) -> Latency {
    let (lowest, highest) = OUTLIER_RANGE;
    Latency {
        micros: (lowest * 1_000 + below(rng, (highest - lowest) * 1_000 + 1)) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_written_like_floats() {
        for (micros, text) in [
            (200_000, "200.0"),
            (187_250, "187.25"),
            (1_001, "1.001"),
            (50, "0.05"),
            (0, "0.0"),
        ] {
            let mut out = TextBuf::default();
            out.append(32, |out| Latency { micros }.write_json(out));
            assert_eq!(std::str::from_utf8(out.as_bytes()).unwrap(), text);
            assert_eq!(serde_json::to_string(&Latency { micros }).unwrap(), text);
        }
    }

    #[test]
    fn pauses_have_the_asked_mean_and_no_pause_is_none() {
        let sessions = Sessions::new(0, 9, 9);
        let pause = Pause {
            mean: 10.0,
            stddev: 5.0,
        };
        let total: f64 = (0..20_000)
            .map(|id| pause.before(&sessions.get(id)).as_secs_f64())
            .sum();
        // The mean of |N(10, 5)| is 10.09.
        assert!((total / 20_000.0 - 10.09).abs() < 0.2, "{total}");
        assert_eq!(
            Pause {
                mean: 0.0,
                stddev: 5.0
            }
            .before(&sessions.get(0)),
            Duration::ZERO
        );
    }
}
