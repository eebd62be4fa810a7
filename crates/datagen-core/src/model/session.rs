//! A visitor's session in the shop: pageviews, and sometimes a star rating after them.
//!
//! Session n is a pure function of the profile, the seed and the number of users and products. Most pageviews are of
//! product pages, so that pageviews can be joined with products and, by user, with orders and star ratings.

mod delivery;
mod event;
mod open;
mod shop;
mod uniform;

use std::sync::Arc;
use std::time::Duration;

use rand_distr::{Distribution, Normal};
use serde::{Serialize, Serializer};

use super::Profile;
use super::product::{PageUri, SHOP};
use crate::locale::network::{ClientIp, UserAgent};
use crate::rng::{Kind, RecordRng, RecordSeed, below};
use crate::text::{Cursor, TextBuf, WriteText, text_value};
use crate::world::World;
pub use delivery::{DUPLICATE_DELAY_MILLIS, DeliveryFaults, LATE_DELAY_MILLIS, MessageFaults};
pub use event::{ClockText, Event, EventEncoder, EventId, StreamTag};
pub use open::{OpenSession, SessionMessage};
pub use shop::{INCIDENT_EVERY_SESSIONS, INCIDENT_SESSIONS, ROBOT_ONE_IN, SessionTraits};

/// The maximum number of pageviews in a session; the minimum is 1.
pub const MAX_PAGEVIEWS: u64 = 30;

/// One pageview in this many has no client IP address, so that there is something to clean.
pub const EMPTY_IP_ONE_IN: u64 = 100;

/// The latency of one pageview in this many is an outlier, so that there is something to detect.
pub const OUTLIER_ONE_IN: u64 = 100;

/// One session in this many ends with a star rating.
pub const STARS_ONE_IN: u64 = 50;

/// All nine HTTP methods (RFC 9110 § 9, RFC 5789).
pub const HTTP_METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

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

/// The lowest and the highest latency of outliers in milliseconds, both inclusive.
pub const OUTLIER_RANGE: (u64, u64) = (500, 5_000);

/// The mean of usual latencies, in milliseconds.
const USUAL_LATENCY: f64 = 200.0;

/// The standard deviation of usual latencies, in milliseconds.
const USUAL_LATENCY_DEVIATION: f64 = 50.0;

/// A session.
#[derive(Clone, Debug)]
pub struct Session<'a> {
    /// From 0.
    pub id: u64,
    /// The wait before the session, in standard normal units; see [`Pause::before`].
    pause: f64,
    /// The user's id, 0 to USER_MAX_ID.
    pub user_id: u64,
    /// The visitor's IP address.
    pub client_ip: ClientIp,
    /// The visitor's browser.
    pub user_agent: UserAgent,
    /// The number of pageviews.
    pub pageview_count: u64,
    /// The rating after the session, if any.
    pub stars: Option<StarRating>,
    /// The generator that draws the pageviews.
    rng: RecordRng,
    model: SessionModel<'a>,
}

/// What a session's pageviews depend on.
#[derive(Clone, Debug)]
enum SessionModel<'a> {
    Shop(shop::ShopSession<'a>),
    Uniform { products: u64 },
}

/// A star rating after a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StarRating {
    /// 1 to 5.
    pub stars: u8,
    /// What caused the rating.
    pub cause: StarCause,
    /// The time from the start of the session to the rating in milliseconds; not before the last pageview.
    pub offset_ms: u32,
}

/// One request of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pageview {
    /// The time from the start of the session to the pageview in milliseconds; 0 for the first pageview.
    pub offset_ms: u32,
    /// An index into [`HTTP_METHODS`].
    method: u8,
    /// The address of the page.
    pub uri: Uri,
    /// The visitor's IP address; `None` if it is missing.
    pub client_ip: Option<ClientIp>,
    /// The time until the response.
    pub latency: Latency,
    /// Whether the page belongs to a lemon; always false in the profile `uniform`.
    pub is_lemon: bool,
}

/// The cause of a star rating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StarCause {
    /// The session included a lemon.
    Lemon,
    /// The session included several outliers, and no lemon.
    Outliers,
    /// The rating does not depend on the session.
    Nothing,
}

/// The progress in generating the pageviews of a session; see [`Session::next_pageview`].
#[derive(Clone, Debug)]
pub struct SessionProgress {
    rng: RecordRng,
    made: u8,
    history: shop::History,
}

/// The address of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uri {
    /// One of a product's `pages`.
    Product(PageUri),
    /// Another page of the shop, as an index into [`OTHER_PAGES`].
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
/// It is rounded, so that the bytes do not depend on the last bits of a platform's floating-point arithmetic.
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

    /// |N(mean, deviation)|, both in milliseconds.
    #[inline]
    fn usual(mean: f64, deviation: f64, rng: &mut RecordRng) -> Self {
        let millis: f64 = Normal::new(mean, deviation)
            .expect("a finite deviation")
            .sample(rng);
        Self {
            micros: (millis.abs() * 1_000.0).round() as u32,
        }
    }

    /// Uniform in [`OUTLIER_RANGE`].
    fn outlier(rng: &mut RecordRng) -> Self {
        let (lowest, highest) = OUTLIER_RANGE;
        Self {
            micros: (lowest * 1_000 + below(rng, (highest - lowest) * 1_000 + 1)) as u32,
        }
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
#[derive(Clone, Debug)]
pub struct Sessions {
    seed: RecordSeed,
    users: u64,
    products: u64,
    /// For the profile [`Profile::Shop`]. Clones share it.
    world: Option<Arc<World>>,
}

impl Sessions {
    /// The sessions of `seed`, of users 0 to `user_max_id` looking at products 0 to `product_max_id`.
    pub fn new(profile: Profile, seed: u64, user_max_id: u64, product_max_id: u64) -> Self {
        let (users, products) = (user_max_id + 1, product_max_id + 1);
        Self {
            seed: RecordSeed::new(seed, Kind::Session),
            users,
            products,
            world: match profile {
                Profile::Shop => Some(Arc::new(World::new(users, products))),
                Profile::Uniform => None,
            },
        }
    }

    /// Session `id`, from 0.
    pub fn get(&self, id: u64) -> Session<'_> {
        let rng = self.seed.rng(id);
        match &self.world {
            Some(world) => shop::session(id, self.seed, world, rng),
            None => uniform::session(id, self.users, self.products, rng),
        }
    }

    /// The world that the sessions belong to, if their profile is [`Profile::Shop`].
    pub fn world(&self) -> Option<&World> {
        self.world.as_deref()
    }
}

/// The distribution of the waits between sessions: |N(mean, stddev)|.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pause {
    /// Seconds; 0 means no wait at all.
    pub mean: f64,
    /// Seconds.
    pub stddev: f64,
}

impl Pause {
    /// The wait before `session`.
    pub fn before(self, session: &Session<'_>) -> Duration {
        if self.mean == 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64((self.mean + self.stddev * session.pause).abs()).unwrap_or(Duration::MAX)
    }
}

impl Session<'_> {
    /// The pageviews, in order.
    #[inline]
    pub fn pageviews(&self) -> impl Iterator<Item = Pageview> {
        let mut progress = self.start();
        std::iter::from_fn(move || self.next_pageview(&mut progress))
    }

    /// The state before the first pageview.
    #[inline]
    pub fn start(&self) -> SessionProgress {
        SessionProgress {
            rng: self.rng.clone(),
            made: 0,
            history: shop::History::default(),
        }
    }

    /// Generates the next pageview, or returns `None` after the last. [`pageviews`](Self::pageviews) generates all of
    /// them.
    #[inline]
    pub fn next_pageview(&self, progress: &mut SessionProgress) -> Option<Pageview> {
        if u64::from(progress.made) == self.pageview_count {
            return None;
        }
        progress.made += 1;
        Some(match &self.model {
            SessionModel::Shop(shop::ShopSession { world, visitor, .. }) => {
                visitor.pageview(world, self.client_ip, &mut progress.history, &mut progress.rng)
            }
            SessionModel::Uniform { products } => {
                uniform::pageview(*products, self.client_ip, &mut progress.rng)
            }
        })
    }

    /// What was planted in the session, if its profile is [`Profile::Shop`].
    pub fn traits(&self) -> Option<&SessionTraits> {
        match &self.model {
            SessionModel::Shop(session) => Some(&session.traits),
            SessionModel::Uniform { .. } => None,
        }
    }

    /// Appends the session's pageview as one JSON object with the fields of the article, without a line feed.
    /// [`EventEncoder`] can also write the fields of its event.
    #[inline]
    pub fn write_pageview_json(&self, pageview: &Pageview, out: &mut TextBuf) {
        out.append(MOST_PAGEVIEW_BYTES, |out| {
            pageview.write_fields(self.user_id, self.user_agent, out);
            out.push_ascii(b'}');
        });
    }

    /// Appends the session's star rating, if it has one, as one JSON object, without a line feed. Returns whether it
    /// has one.
    pub fn write_stars_json(&self, out: &mut TextBuf) -> bool {
        let Some(rating) = self.stars else {
            return false;
        };
        out.append(MOST_STARS_BYTES, |out| {
            rating.write_fields(self.user_id, out);
            out.push_ascii(b'}');
        });
        true
    }
}

/// The maximum length of a pageview as JSON, in bytes, without the fields of its event.
const MOST_PAGEVIEW_BYTES: usize = 640;

/// The maximum length of a star rating as JSON, in bytes, without the fields of its event.
const MOST_STARS_BYTES: usize = 64;

impl StarRating {
    /// Writes the rating by user `user_id` as a JSON object up to its closing brace.
    fn write_fields(self, user_id: u64, out: &mut Cursor<'_>) {
        out.push_str("{\"user_id\":");
        out.push_number(user_id);
        out.push_str(",\"stars\":");
        out.push_number(u64::from(self.stars));
    }
}

impl Pageview {
    /// Writes the pageview by user `user_id` as a JSON object up to its closing brace.
    #[inline]
    fn write_fields(&self, user_id: u64, user_agent: UserAgent, out: &mut Cursor<'_>) {
        out.push_str("{\"user_id\":");
        out.push_number(user_id);
        out.push_str(",\"http_method\":\"");
        out.push_str(self.http_method());
        out.push_str("\",\"uri\":\"");
        self.uri.write_text(out);
        out.push_str("\",\"client_ip\":\"");
        if let Some(ip) = self.client_ip {
            ip.write_text(out);
        }
        out.push_str("\",\"user_agent\":\"");
        user_agent.write_text(out);
        out.push_str("\",\"latency\":");
        self.latency.write_json(out);
    }

    /// Whether the method is one that only attackers and scanners use: DELETE, TRACE and CONNECT.
    pub fn is_suspicious(&self) -> bool {
        shop::is_suspicious_method(self.method)
    }

    /// The HTTP method.
    pub fn http_method(&self) -> &'static str {
        HTTP_METHODS[usize::from(self.method)]
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
        for profile in Profile::ALL {
            let sessions = Sessions::new(profile, 0, 9, 9);
            let pause = Pause {
                mean: 10.0,
                stddev: 5.0,
            };
            let total: f64 = (0..20_000)
                .map(|id| pause.before(&sessions.get(id)).as_secs_f64())
                .sum();
            // The mean of |N(10, 5)| is 10.09.
            assert!((total / 20_000.0 - 10.09).abs() < 0.2, "{total}");
        }
        let sessions = Sessions::new(Profile::Shop, 0, 9, 9);
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
