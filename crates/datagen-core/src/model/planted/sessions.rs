//! Counts the effects planted in sessions: pageviews and star ratings.

use std::ops::{AddAssign, BitOr};

use serde_json::{Value, json};

use super::{EXAMPLES, Effect, lemons};
use crate::model::product::Pages;
use crate::model::session::{
    DUPLICATE_DELAY_MILLIS, DeliveryFaults, EMPTY_IP_ONE_IN, INCIDENT_EVERY_SESSIONS, INCIDENT_SESSIONS,
    LATE_DELAY_MILLIS, OTHER_PAGES, OUTLIER_ONE_IN, OUTLIER_RANGE, Pageview, ROBOT_ONE_IN, STARS_ONE_IN,
    Session, Sessions, StarCause, StarRating, Uri,
};
use crate::world::catalogue::LATENCY_VARIANCE_PERCENT;
use crate::world::population::{OTHER_ADDRESS_ONE_IN, OTHER_BROWSER_ONE_IN};
use crate::world::{Catalogue, World};

/// The slowest products are listed among this many of the most popular ones.
const SLOWEST_AMONG: u64 = 1_000;

/// An effect that sessions, pageviews or star ratings can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEffect {
    /// Pageviews without an address.
    EmptyAddress,
    /// Pageviews whose latency is an outlier.
    Outlier,
    /// Star ratings.
    StarRating,
    /// Messages that are sent minutes after their event time.
    Late,
    /// Messages that are sent a second time.
    Duplicate,
    /// Sessions in incidents.
    Incident,
    /// Outliers in incidents.
    IncidentOutlier,
    /// Sessions of robots.
    Robot,
    /// Sessions with a browser other than the user's usual one.
    OtherBrowser,
    /// Sessions from an address other than the user's home address.
    OtherAddress,
    /// Pageviews with a suspicious method.
    SuspiciousMethod,
    /// Pageviews of the basket.
    Basket,
    /// Pageviews of the checkout.
    Checkout,
    /// Pageviews of products, whose latency depends on the product.
    ProductLatency,
    /// Pageviews of lemons.
    Lemon,
    /// Star ratings after a lemon.
    RatingAfterLemon,
    /// Star ratings of 1 or 2 after a lemon.
    BadRatingAfterLemon,
    /// Star ratings after several outliers.
    RatingAfterOutliers,
    /// Star ratings of 1 or 2 after several outliers.
    BadRatingAfterOutliers,
}

impl SessionEffect {
    /// All effects; those of the profile `uniform` first.
    pub const ALL: [Self; 19] = [
        Self::EmptyAddress,
        Self::Outlier,
        Self::StarRating,
        Self::Late,
        Self::Duplicate,
        Self::Incident,
        Self::IncidentOutlier,
        Self::Robot,
        Self::OtherBrowser,
        Self::OtherAddress,
        Self::SuspiciousMethod,
        Self::Basket,
        Self::Checkout,
        Self::ProductLatency,
        Self::Lemon,
        Self::RatingAfterLemon,
        Self::BadRatingAfterLemon,
        Self::RatingAfterOutliers,
        Self::BadRatingAfterOutliers,
    ];

    /// The number of effects in [`ALL`](Self::ALL), from the first, that sessions of the profile `uniform` can have.
    const UNIFORM: usize = 5;

    /// The effect's name in the answer key.
    pub fn name(self) -> &'static str {
        match self {
            Self::EmptyAddress => "empty_address",
            Self::Outlier => "latency_outlier",
            Self::StarRating => "star_rating",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Incident => "incident",
            Self::IncidentOutlier => "incident_outlier",
            Self::Robot => "robot",
            Self::OtherBrowser => "other_browser",
            Self::OtherAddress => "other_address",
            Self::SuspiciousMethod => "suspicious_method",
            Self::Basket => "basket",
            Self::Checkout => "checkout",
            Self::ProductLatency => "product_latency",
            Self::Lemon => "lemon",
            Self::RatingAfterLemon => "rating_after_lemon",
            Self::BadRatingAfterLemon => "bad_rating_after_lemon",
            Self::RatingAfterOutliers => "rating_after_outliers",
            Self::BadRatingAfterOutliers => "bad_rating_after_outliers",
        }
    }
}

/// Effects of one message, or of a session as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionEffects(u32);

const _: () = assert!(SessionEffect::ALL.len() <= u32::BITS as usize);

impl BitOr for SessionEffects {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl From<SessionEffect> for SessionEffects {
    fn from(effect: SessionEffect) -> Self {
        Self(1 << effect as u32)
    }
}

impl SessionEffects {
    #[inline]
    fn with(self, effect: SessionEffect, is_there: bool) -> Self {
        Self(self.0 | u32::from(is_there) << effect as u32)
    }

    /// Whether `effect` is one of them.
    #[inline]
    pub fn contains(self, effect: SessionEffect) -> bool {
        self.0 & (1 << effect as u32) != 0
    }

    /// The effects of a session as a whole.
    pub fn of_session(session: &Session<'_>) -> Self {
        let Some(traits) = session.traits() else {
            return Self::default();
        };
        Self::default()
            .with(SessionEffect::Incident, traits.incident.is_some())
            .with(SessionEffect::Robot, traits.is_robot)
            .with(SessionEffect::OtherBrowser, traits.is_other_browser)
            .with(SessionEffect::OtherAddress, traits.is_other_address)
    }

    /// The effects of a pageview in a session with the effects `session`.
    #[inline]
    pub fn of_pageview(pageview: &Pageview, session: Self) -> Self {
        let is_outlier = pageview.latency.is_outlier();
        let is_incident = session.contains(SessionEffect::Incident);
        let effects = Self::default()
            .with(SessionEffect::EmptyAddress, pageview.client_ip.is_none())
            .with(SessionEffect::Outlier, is_outlier)
            .with(SessionEffect::IncidentOutlier, is_outlier && is_incident)
            .with(SessionEffect::SuspiciousMethod, pageview.is_suspicious())
            .with(SessionEffect::Lemon, pageview.is_lemon);
        match pageview.uri {
            Uri::Product(_) => effects.with(SessionEffect::ProductLatency, true),
            Uri::Other(page) => {
                let page = OTHER_PAGES[usize::from(page)];
                effects
                    .with(SessionEffect::Basket, page == "/kosik")
                    .with(SessionEffect::Checkout, page == "/pokladna")
            }
        }
    }

    /// The effects of a star rating.
    pub fn of_stars(rating: &StarRating) -> Self {
        let effects = Self::from(SessionEffect::StarRating);
        let (all, bad) = match rating.cause {
            StarCause::Lemon => (
                SessionEffect::RatingAfterLemon,
                SessionEffect::BadRatingAfterLemon,
            ),
            StarCause::Outliers => (
                SessionEffect::RatingAfterOutliers,
                SessionEffect::BadRatingAfterOutliers,
            ),
            StarCause::Nothing => return effects,
        };
        effects.with(all, true).with(bad, rating.stars <= 2)
    }
}

/// The number of records with each effect. The counts of several parts of the data add up.
///
/// A duplicate counts only as a duplicate, so that the other counts are those of the data without duplicates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts([u64; SessionEffect::ALL.len()]);

impl AddAssign for SessionCounts {
    fn add_assign(&mut self, other: Self) {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count += other;
        }
    }
}

impl SessionCounts {
    /// The number of records with `effect`.
    pub fn get(&self, effect: SessionEffect) -> u64 {
        self.0[effect as usize]
    }

    /// Counts the effects of a message.
    #[inline]
    pub fn add(&mut self, SessionEffects(mut effects): SessionEffects) {
        while effects != 0 {
            self.0[effects.trailing_zeros() as usize] += 1;
            effects &= effects - 1;
        }
    }

    /// Counts the effects of a session with all its pageviews and its star rating.
    pub fn add_whole(&mut self, session: &Session<'_>) {
        let whole = SessionEffects::of_session(session);
        self.add(whole);
        for pageview in session.pageviews() {
            self.add(SessionEffects::of_pageview(&pageview, whole));
        }
        if let Some(rating) = &session.stars {
            self.add(SessionEffects::of_stars(rating));
        }
    }
}

/// Describes the effects planted in the sessions of one seed.
#[derive(Clone, Debug)]
pub struct PlantedSessions<'a> {
    world: Option<&'a World>,
    faults: DeliveryFaults,
}

impl<'a> PlantedSessions<'a> {
    /// The effects planted in `sessions`, whose messages are delivered with `faults`.
    pub fn new(sessions: &'a Sessions, faults: DeliveryFaults) -> Self {
        Self {
            world: sessions.world(),
            faults,
        }
    }

    /// The effects that the sessions can have, which depend on their profile.
    pub fn possible(&self) -> &'static [SessionEffect] {
        match self.world {
            Some(_) => &SessionEffect::ALL,
            None => &SessionEffect::ALL[..SessionEffect::UNIFORM],
        }
    }

    /// The effects with their counts.
    pub fn effects(&self, counts: &SessionCounts) -> Vec<Effect> {
        let possible = self.possible().iter();
        possible
            .map(|&effect| Effect {
                effect: effect.name(),
                parameters: self.parameters(effect),
                count: counts.get(effect),
            })
            .collect()
    }

    fn parameters(&self, effect: SessionEffect) -> Value {
        let catalogue = self.world.map(|world| &world.catalogue);
        match effect {
            SessionEffect::EmptyAddress => json!({"counted": "pageviews", "one_in": EMPTY_IP_ONE_IN}),
            SessionEffect::Outlier => json!({
                "counted": "pageviews",
                "one_in": OUTLIER_ONE_IN,
                "from_ms": OUTLIER_RANGE.0,
                "to_ms": OUTLIER_RANGE.1,
            }),
            SessionEffect::StarRating => json!({"counted": "star ratings", "one_session_in": STARS_ONE_IN}),
            SessionEffect::Late => json!({
                "counted": "messages",
                "one_in": self.faults.late_one_in,
                "from_ms": LATE_DELAY_MILLIS.0,
                "to_ms": LATE_DELAY_MILLIS.1,
            }),
            SessionEffect::Duplicate => json!({
                "counted": "messages sent again",
                "one_in": self.faults.duplicate_one_in,
                "from_ms": DUPLICATE_DELAY_MILLIS.0,
                "to_ms": DUPLICATE_DELAY_MILLIS.1,
            }),
            SessionEffect::Incident => json!({
                "counted": "sessions",
                "sessions_per_incident": INCIDENT_SESSIONS,
                "one_incident_in_sessions": INCIDENT_EVERY_SESSIONS,
            }),
            SessionEffect::IncidentOutlier => json!({"counted": "pageviews"}),
            SessionEffect::Robot => json!({"counted": "sessions", "one_in": ROBOT_ONE_IN}),
            SessionEffect::OtherBrowser => json!({"counted": "sessions", "one_in": OTHER_BROWSER_ONE_IN}),
            SessionEffect::OtherAddress => json!({"counted": "sessions", "one_in": OTHER_ADDRESS_ONE_IN}),
            SessionEffect::SuspiciousMethod => {
                json!({"counted": "pageviews", "methods": ["DELETE", "TRACE", "CONNECT"]})
            }
            SessionEffect::Basket | SessionEffect::Checkout => json!({"counted": "pageviews"}),
            SessionEffect::ProductLatency => json!({
                "counted": "pageviews of products",
                "percent_of_variance": LATENCY_VARIANCE_PERCENT,
                "among_most_popular": SLOWEST_AMONG,
                "slowest": catalogue.map(slowest),
            }),
            SessionEffect::Lemon => json!({"counted": "pageviews", "products": catalogue.map(lemons)}),
            SessionEffect::RatingAfterLemon | SessionEffect::RatingAfterOutliers => {
                json!({"counted": "star ratings"})
            }
            SessionEffect::BadRatingAfterLemon | SessionEffect::BadRatingAfterOutliers => {
                json!({"counted": "star ratings of 1 or 2"})
            }
        }
    }
}

/// The products with the slowest pages among the most popular ones.
fn slowest(catalogue: &Catalogue) -> Vec<Value> {
    let ranks = 0..catalogue.len().min(SLOWEST_AMONG);
    let mut products: Vec<_> = ranks
        .filter_map(|rank| Some((catalogue.latency_effect(rank)?, catalogue.product_at_rank(rank))))
        .collect();
    products.sort_unstable_by_key(|&(effect, product)| (-effect, product));
    products
        .into_iter()
        .take(EXAMPLES)
        .map(|(effect, product)| {
            json!({
                "product": product,
                "page": Pages::of(product).as_array()[0].to_string(),
                "slower_by_ms": effect as f64 / 1_000.0,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Profile;

    #[test]
    fn effects_are_named_and_counted_from_the_records() {
        for (index, effect) in SessionEffect::ALL.into_iter().enumerate() {
            assert_eq!(effect as usize, index);
        }
        let sessions = Sessions::new(Profile::Shop, 5, 999, 999);
        let (mut whole, mut parts) = (SessionCounts::default(), [SessionCounts::default(); 2]);
        let mut incidents = 0;
        for id in 0..8_000 {
            let session = sessions.get(id);
            whole.add_whole(&session);
            parts[(id % 2) as usize].add_whole(&session);
            incidents += u64::from(session.traits().unwrap().incident.is_some());
        }
        let [mut sum, other] = parts;
        sum += other;
        assert_eq!(sum, whole);
        assert_eq!(incidents, 80, "exactly 8 in 800");
        let faults = DeliveryFaults::new(5, 0, 0);
        let effects = PlantedSessions::new(&sessions, faults).effects(&whole);
        let names: std::collections::HashSet<_> = effects.iter().map(|effect| effect.effect).collect();
        assert_eq!(names.len(), SessionEffect::ALL.len());
        // Whether a message is late or a duplicate does not depend on its session.
        let is_fault = |effect: &Effect| ["late", "duplicate"].contains(&effect.effect);
        for effect in &effects {
            assert_eq!(effect.count == 0, is_fault(effect), "{effect:?}");
        }

        let sessions = Sessions::new(Profile::Uniform, 5, 999, 999);
        let mut counts = SessionCounts::default();
        (0..1_000).for_each(|id| counts.add_whole(&sessions.get(id)));
        counts.add(SessionEffect::Late.into());
        counts.add(SessionEffect::Duplicate.into());
        let effects = PlantedSessions::new(&sessions, faults).effects(&counts);
        let names: Vec<_> = effects.iter().map(|effect| effect.effect).collect();
        assert_eq!(
            names,
            [
                "empty_address",
                "latency_outlier",
                "star_rating",
                "late",
                "duplicate"
            ]
        );
        assert!(effects.iter().all(|effect| effect.count > 0), "{effects:?}");
    }
}
