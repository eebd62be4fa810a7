//! What is planted in sessions: pageviews and star ratings.

use std::ops::AddAssign;

use serde_json::{Value, json};

use super::{EXAMPLES, Effect, lemons};
use crate::model::product::Pages;
use crate::model::session::{
    EMPTY_IP_ONE_IN, INCIDENT_EVERY_SESSIONS, INCIDENT_SESSIONS, OTHER_PAGES, OUTLIER_ONE_IN, OUTLIER_RANGE,
    Pageview, ROBOT_ONE_IN, STARS_ONE_IN, Session, Sessions, StarCause, Uri,
};
use crate::world::catalogue::LATENCY_VARIANCE_PERCENT;
use crate::world::population::{OTHER_ADDRESS_ONE_IN, OTHER_BROWSER_ONE_IN};
use crate::world::{Catalogue, World};

/// Among so many of the most popular products, the slowest are listed.
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
    /// Sessions in incidents.
    Incident,
    /// Outliers in incidents.
    IncidentOutlier,
    /// Sessions of robots.
    Robot,
    /// Sessions with another browser than the user's.
    OtherBrowser,
    /// Sessions from another address than the user's home.
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
    pub const ALL: [Self; 17] = [
        Self::EmptyAddress,
        Self::Outlier,
        Self::StarRating,
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

    /// How many of [`ALL`](Self::ALL) sessions of the profile `uniform` can have.
    const UNIFORM: usize = 3;

    /// The effect's name in the answer key.
    pub fn name(self) -> &'static str {
        match self {
            Self::EmptyAddress => "empty_address",
            Self::Outlier => "latency_outlier",
            Self::StarRating => "star_rating",
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

/// How many records have each effect. The counts of several parts of the data add up.
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
    /// How many records have `effect`.
    pub fn get(&self, effect: SessionEffect) -> u64 {
        self.0[effect as usize]
    }

    fn add(&mut self, effect: SessionEffect, is_there: bool) {
        self.0[effect as usize] += u64::from(is_there);
    }

    /// Counts the effects of a session as a whole, when it starts.
    pub fn add_session(&mut self, session: &Session) {
        let Some(traits) = session.traits() else { return };
        self.add(SessionEffect::Incident, traits.incident.is_some());
        self.add(SessionEffect::Robot, traits.is_robot);
        self.add(SessionEffect::OtherBrowser, traits.is_other_browser);
        self.add(SessionEffect::OtherAddress, traits.is_other_address);
    }

    /// Counts the effects of a pageview of `session`.
    #[inline]
    pub fn add_pageview(&mut self, session: &Session, pageview: &Pageview) {
        let is_outlier = pageview.latency.is_outlier();
        self.add(SessionEffect::EmptyAddress, pageview.client_ip.is_none());
        self.add(SessionEffect::Outlier, is_outlier);
        let Some(traits) = session.traits() else { return };
        self.add(
            SessionEffect::IncidentOutlier,
            is_outlier && traits.incident.is_some(),
        );
        self.add(SessionEffect::SuspiciousMethod, pageview.is_suspicious());
        self.add(SessionEffect::Lemon, pageview.is_lemon);
        match pageview.uri {
            Uri::Product(_) => self.add(SessionEffect::ProductLatency, true),
            Uri::Other(page) => {
                let page = OTHER_PAGES[usize::from(page)];
                self.add(SessionEffect::Basket, page == "/kosik");
                self.add(SessionEffect::Checkout, page == "/pokladna");
            }
        }
    }

    /// Counts the effects of the star rating of `session`, if it has one.
    pub fn add_stars(&mut self, session: &Session) {
        let Some(rating) = session.stars else { return };
        let is_bad = rating.stars <= 2;
        self.add(SessionEffect::StarRating, true);
        let (all, bad) = match rating.cause {
            StarCause::Lemon => (
                SessionEffect::RatingAfterLemon,
                SessionEffect::BadRatingAfterLemon,
            ),
            StarCause::Outliers => (
                SessionEffect::RatingAfterOutliers,
                SessionEffect::BadRatingAfterOutliers,
            ),
            StarCause::Nothing => return,
        };
        self.add(all, true);
        self.add(bad, is_bad);
    }

    /// Counts the effects of a session with all its pageviews and its star rating.
    pub fn add_whole(&mut self, session: &Session) {
        self.add_session(session);
        session
            .pageviews()
            .for_each(|pageview| self.add_pageview(session, &pageview));
        self.add_stars(session);
    }
}

/// Describes what is planted in the sessions of one seed.
#[derive(Clone, Debug)]
pub struct PlantedSessions<'a> {
    world: Option<&'a World>,
}

impl<'a> PlantedSessions<'a> {
    /// What is planted in `sessions`.
    pub fn new(sessions: &'a Sessions) -> Self {
        Self {
            world: sessions.world(),
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
        let effects = PlantedSessions::new(&sessions).effects(&whole);
        let names: std::collections::HashSet<_> = effects.iter().map(|effect| effect.effect).collect();
        assert_eq!(names.len(), SessionEffect::ALL.len());
        assert!(effects.iter().all(|effect| effect.count > 0), "{effects:?}");

        let sessions = Sessions::new(Profile::Uniform, 5, 999, 999);
        let mut counts = SessionCounts::default();
        (0..1_000).for_each(|id| counts.add_whole(&sessions.get(id)));
        let effects = PlantedSessions::new(&sessions).effects(&counts);
        let names: Vec<_> = effects.iter().map(|effect| effect.effect).collect();
        assert_eq!(names, ["empty_address", "latency_outlier", "star_rating"]);
        assert!(effects.iter().all(|effect| effect.count > 0), "{effects:?}");
    }
}
