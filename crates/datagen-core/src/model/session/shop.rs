//! Sessions of the profile `shop`: visitors who find a product, look around, fill a basket and sometimes pay.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{
    EMPTY_IP_ONE_IN, Latency, MAX_PAGEVIEWS, OUTLIER_ONE_IN, Pageview, STARS_ONE_IN, Session, SessionModel,
    SessionProgress, StarCause, StarRating, USUAL_LATENCY, USUAL_LATENCY_DEVIATION, Uri,
};
use crate::locale::network::{ClientIp, UserAgent};
use crate::model::product::Pages;
use crate::rng::{RecordRng, RecordSeed, below, chance};
use crate::world::catalogue::LATENCY_NOISE_DEVIATION;
use crate::world::population::{OTHER_ADDRESS_ONE_IN, OTHER_BROWSER_ONE_IN};
use crate::world::quantiles::{DWELL_MILLIS, quantile};
use crate::world::{Catalogue, World};

/// One session in this many is a robot's. Source: our choice; robots cause a larger part of the traffic of real
/// shops, but most of that is filtered out before it gets into such data.
pub const ROBOT_ONE_IN: u64 = 100;

/// The number of pageviews in a robot's session, the second exclusive. These sessions are long.
const ROBOT_PAGEVIEWS: (u64, u64) = (20, MAX_PAGEVIEWS + 1);

/// The time between two pageviews of a robot in milliseconds, the second exclusive.
const ROBOT_DWELL_MILLIS: (u64, u64) = (500, 1_500);

/// The percentage of product pages among the pages that a robot requests, drawn uniformly; the others are categories.
const ROBOT_PRODUCT_PERCENT: u64 = 85;

/// There is exactly one incident in each run of this many sessions. Source: our choice.
pub const INCIDENT_EVERY_SESSIONS: u64 = 800;

/// The number of consecutive sessions for which an incident lasts. Source: our choice.
pub const INCIDENT_SESSIONS: u64 = 8;

/// One pageview in this many is an outlier during incidents, so that half of all outliers are in incidents:
/// 8/800 · 1/2 = 1/200.
const OUTLIER_ONE_IN_DURING_INCIDENTS: u64 = 2;

/// One pageview in this many is an outlier outside incidents, so that the overall share of outliers is
/// 1 / [`OUTLIER_ONE_IN`]; this half is 792/800 · 1/198 = 1/200.
const OUTLIER_ONE_IN_OUTSIDE_INCIDENTS: u64 = 198;

const _: () = {
    let in_incidents = OUTLIER_ONE_IN_DURING_INCIDENTS * INCIDENT_EVERY_SESSIONS / INCIDENT_SESSIONS;
    let outside = OUTLIER_ONE_IN_OUTSIDE_INCIDENTS * INCIDENT_EVERY_SESSIONS
        / (INCIDENT_EVERY_SESSIONS - INCIDENT_SESSIONS);
    assert!(in_incidents == 2 * OUTLIER_ONE_IN && outside == 2 * OUTLIER_ONE_IN);
};

/// The percentage of bad ratings (1 or 2 stars) after a session with a lemon, after one with several outliers, and
/// after any other. Source: our choice.
const BAD_PERCENT_LEMON: u64 = 65;
const BAD_PERCENT_OUTLIERS: u64 = 45;
const BAD_PERCENT: u64 = 12;

/// The number of outliers from which a session has several outliers.
const SEVERAL_OUTLIERS: u32 = 2;

/// The distribution of ratings is J-shaped: most are 5, and of the bad ones most are 1. Source: Hu, Zhang and Pavlou,
/// Overcoming the J-shaped distribution of product reviews (2009); the numbers are our choice.
static BAD_STARS: [u8; 10] = [1, 1, 1, 1, 1, 1, 1, 2, 2, 2];
static OTHER_STARS: [u8; 8] = [3, 4, 4, 5, 5, 5, 5, 5];

/// The time between the last pageview and the rating in milliseconds, the second exclusive: 5 seconds to 5 minutes.
const STAR_DELAY_MILLIS: (u64, u64) = (5_000, 300_000);

/// A kind of page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Page {
    #[default]
    Home,
    Category,
    Product,
    Basket,
    Checkout,
    Account,
    SignIn,
    Contact,
}

/// The probabilities of the first page of a session, in hundredths.
static ENTRY: [(Page, u64); 3] = [(Page::Home, 45), (Page::Category, 10), (Page::Product, 45)];

impl Page {
    /// The probabilities of the page that follows this one, in hundredths. Only the basket leads to the checkout.
    /// Source: our choice; about one session in eight reaches the checkout.
    fn next(self) -> &'static [(Page, u64)] {
        match self {
            Self::Home => &[
                (Self::Category, 55),
                (Self::Product, 37),
                (Self::SignIn, 5),
                (Self::Contact, 3),
            ],
            Self::Category => &[(Self::Product, 75), (Self::Category, 20), (Self::Home, 5)],
            Self::Product => &[
                (Self::Product, 60),
                (Self::Category, 21),
                (Self::Basket, 9),
                (Self::Home, 5),
                (Self::SignIn, 3),
                (Self::Contact, 2),
            ],
            Self::Basket => &[(Self::Product, 50), (Self::Checkout, 30), (Self::Category, 20)],
            Self::Checkout => &[(Self::Product, 60), (Self::Account, 40)],
            Self::Account | Self::Contact => &[(Self::Product, 60), (Self::Home, 40)],
            Self::SignIn => &[(Self::Account, 50), (Self::Product, 30), (Self::Home, 20)],
        }
    }

    /// The probabilities of the methods with which the page is requested, in thousandths; methods are indices into
    /// [`super::HTTP_METHODS`].
    fn methods(self) -> &'static [(u8, u64)] {
        match self {
            Self::Home | Self::Category | Self::Product | Self::Contact => &[
                (GET, 970),
                (HEAD, 17),
                (OPTIONS, 10),
                (DELETE, 1),
                (TRACE, 1),
                (CONNECT, 1),
            ],
            Self::Basket => &[
                (POST, 800),
                (GET, 97),
                (PATCH, 70),
                (PUT, 30),
                (DELETE, 1),
                (TRACE, 1),
                (CONNECT, 1),
            ],
            Self::Checkout | Self::SignIn => {
                &[(POST, 800), (GET, 197), (DELETE, 1), (TRACE, 1), (CONNECT, 1)]
            }
            Self::Account => &[
                (GET, 697),
                (PUT, 150),
                (PATCH, 150),
                (DELETE, 1),
                (TRACE, 1),
                (CONNECT, 1),
            ],
        }
    }
}

/// The probabilities of the methods that robots use, in thousandths.
static ROBOT_METHODS: [(u8, u64); 2] = [(GET, 700), (HEAD, 300)];

// Indices into `HTTP_METHODS`.
const GET: u8 = 0;
const HEAD: u8 = 1;
const POST: u8 = 2;
const PUT: u8 = 3;
const DELETE: u8 = 4;
const CONNECT: u8 = 5;
const OPTIONS: u8 = 6;
const TRACE: u8 = 7;
const PATCH: u8 = 8;

/// Whether no page of the shop is meant to be requested with this method. About one pageview in 333 has such a
/// method.
pub(super) fn is_suspicious_method(method: u8) -> bool {
    matches!(method, DELETE | TRACE | CONNECT)
}

/// The choice that `draw` selects, which must be below the sum of all weights.
#[inline]
fn choose<T: Copy>(choices: &[(T, u64)], mut draw: u64) -> T {
    for &(choice, weight) in choices {
        if draw < weight {
            return choice;
        }
        draw -= weight;
    }
    choices[0].0
}

/// What was planted in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTraits {
    /// Whether the visitor is a robot.
    pub is_robot: bool,
    /// The number of the incident that the session is in, from 0.
    pub incident: Option<u64>,
    /// Whether the browser is not the user's usual one.
    pub is_other_browser: bool,
    /// Whether the address is not the user's home address.
    pub is_other_address: bool,
}

/// The data that only sessions of this profile have.
#[derive(Clone, Debug)]
pub(super) struct ShopSession<'a> {
    pub(super) world: &'a World,
    pub(super) visitor: ShopVisitor,
    pub(super) traits: SessionTraits,
}

/// What the pageviews of a session depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShopVisitor {
    favourite_shelf: u32,
    is_robot: bool,
    is_in_incident: bool,
}

/// The history of a session. A stream keeps one for each open session, so it must be small.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    /// The ranks of the first and of the last product, if any was viewed.
    products: Option<(u32, u32)>,
    offset_ms: u32,
    /// The last page viewed; `None` before the first.
    page: Option<Page>,
    lemons: u8,
    outliers: u8,
}

/// Session `id` in `world`, drawn with `rng`.
pub(super) fn session(id: u64, seed: RecordSeed, world: &World, mut rng: RecordRng) -> Session<'_> {
    let rng = &mut rng;
    let population = &world.population;
    let pause = StandardNormal.sample(rng);
    let is_robot = chance(rng, 1, ROBOT_ONE_IN);
    let (other_browser, other_address) = (
        chance(rng, 1, OTHER_BROWSER_ONE_IN),
        chance(rng, 1, OTHER_ADDRESS_ONE_IN),
    );
    let user_id = if is_robot {
        below(rng, population.len())
    } else {
        population.draw_visitor(rng)
    };
    let (user_agent, client_ip, pageview_count);
    if is_robot {
        user_agent = UserAgent::robot(rng.next_u64());
        client_ip = ClientIp::of_robot(user_agent, rng.next_u64());
        pageview_count = between(rng, ROBOT_PAGEVIEWS);
    } else {
        user_agent = if other_browser {
            population.other_browser(user_id)
        } else {
            population.browser(user_id)
        };
        client_ip = if other_address {
            ClientIp::czech_home(rng.next_u64())
        } else {
            population.home_address(user_id)
        };
        // The lower of two uniform numbers, so that there are fewer long sessions than short ones; 10.5 pageviews on
        // average.
        pageview_count = 1 + below(rng, MAX_PAGEVIEWS).min(below(rng, MAX_PAGEVIEWS));
    }
    // Robots do not rate. The other sessions do so a little more often, so that the overall share remains
    // 1 / `STARS_ONE_IN`.
    let is_rated = !is_robot && chance(rng, ROBOT_ONE_IN, STARS_ONE_IN * (ROBOT_ONE_IN - 1));
    let shelf_word = population.favourite_shelf_word(user_id);
    let incident = incident(id, seed);
    let model = ShopSession {
        world,
        visitor: ShopVisitor {
            // Ids, and therefore ranks and shelves, fit into 31 bits.
            favourite_shelf: world.catalogue.shelf_of_word(shelf_word) as u32,
            is_robot,
            is_in_incident: incident.is_some(),
        },
        traits: SessionTraits {
            is_robot,
            incident,
            is_other_browser: !is_robot && other_browser,
            is_other_address: !is_robot && other_address,
        },
    };
    let stars_rng = is_rated.then(|| {
        let mut stars_rng = rng.clone();
        // Makes the numbers independent of those for the pageviews.
        stars_rng.jump();
        stars_rng
    });
    let mut session = Session {
        id,
        pause,
        user_id,
        client_ip,
        user_agent,
        pageview_count,
        stars: None,
        rng: rng.clone(),
        model: SessionModel::Shop(model),
    };
    if let Some(mut rng) = stars_rng {
        let mut progress = session.start();
        while session.next_pageview(&mut progress).is_some() {}
        session.stars = Some(stars(&progress, &mut rng));
    }
    session
}

/// The incident that session `id` is in, if any.
fn incident(id: u64, seed: RecordSeed) -> Option<u64> {
    let (number, position) = (id / INCIDENT_EVERY_SESSIONS, id % INCIDENT_EVERY_SESSIONS);
    let starts = INCIDENT_EVERY_SESSIONS - INCIDENT_SESSIONS + 1;
    let start = seed.block_word(number) % starts;
    (start..start + INCIDENT_SESSIONS)
        .contains(&position)
        .then_some(number)
}

/// The star rating after a session whose pageviews have all been generated.
fn stars(progress: &SessionProgress, rng: &mut RecordRng) -> StarRating {
    let history = &progress.history;
    let (cause, bad_percent) = if history.lemons > 0 {
        (StarCause::Lemon, BAD_PERCENT_LEMON)
    } else if u32::from(history.outliers) >= SEVERAL_OUTLIERS {
        (StarCause::Outliers, BAD_PERCENT_OUTLIERS)
    } else {
        (StarCause::Nothing, BAD_PERCENT)
    };
    let choices: &[u8] = if chance(rng, bad_percent, 100) {
        &BAD_STARS
    } else {
        &OTHER_STARS
    };
    StarRating {
        stars: choices[below(rng, choices.len() as u64) as usize],
        cause,
        offset_ms: history.offset_ms + between(rng, STAR_DELAY_MILLIS) as u32,
    }
}

/// A uniform number in a range whose end is exclusive.
#[inline]
fn between(rng: &mut RecordRng, (start, end): (u64, u64)) -> u64 {
    start + below(rng, end - start)
}

impl History {
    /// The time of the next pageview, in milliseconds after the start of the session, if the pageview is drawn with
    /// `rng`.
    #[inline]
    pub(super) fn next_offset_ms(&self, visitor: ShopVisitor, rng: &RecordRng) -> u32 {
        if self.page.is_none() {
            return self.offset_ms;
        }
        let mut rng = rng.clone();
        // Skips the word that decides the choices with few outcomes; see `ShopVisitor::pageview`.
        rng.next_u64();
        self.offset_ms + visitor.dwell_ms(&mut rng)
    }
}

impl ShopVisitor {
    /// The time between two pageviews, in milliseconds.
    #[inline]
    fn dwell_ms(self, rng: &mut RecordRng) -> u32 {
        if self.is_robot {
            between(rng, ROBOT_DWELL_MILLIS) as u32
        } else {
            quantile(&DWELL_MILLIS, rng.next_u64()) as u32
        }
    }

    /// The next pageview, drawn with `rng`.
    #[inline]
    pub(super) fn pageview(
        self,
        world: &World,
        client_ip: ClientIp,
        history: &mut History,
        rng: &mut RecordRng,
    ) -> Pageview {
        let is_robot = self.is_robot;
        let outlier_one_in = if self.is_in_incident {
            OUTLIER_ONE_IN_DURING_INCIDENTS
        } else {
            OUTLIER_ONE_IN_OUTSIDE_INCIDENTS
        };
        // One random word decides all choices with few outcomes.
        let draw = below(rng, 100 * 1_000 * 6 * EMPTY_IP_ONE_IN * outlier_one_in);
        let (chain, draw) = (draw % 100, draw / 100);
        let (method, draw) = (draw % 1_000, draw / 1_000);
        let (page_draw, draw) = (draw % 6, draw / 6);
        let (no_ip, is_outlier) = (draw % EMPTY_IP_ONE_IN == 0, draw / EMPTY_IP_ONE_IN == 0);

        if history.page.is_some() {
            history.offset_ms += self.dwell_ms(rng);
        }
        let page = match history.page {
            _ if is_robot && chain < ROBOT_PRODUCT_PERCENT => Page::Product,
            _ if is_robot => Page::Category,
            None => choose(&ENTRY, chain),
            Some(page) => choose(page.next(), chain),
        };
        history.page = Some(page);
        let methods = if is_robot { &ROBOT_METHODS } else { page.methods() };
        let (mut mean, mut deviation, mut is_lemon) = (USUAL_LATENCY, USUAL_LATENCY_DEVIATION, false);
        let uri = if page == Page::Product {
            let catalogue = &world.catalogue;
            let (rank, section) = self.product(catalogue, history, page_draw, rng);
            if let Some(effect) = catalogue.latency_effect(rank) {
                mean += effect as f64 / 1_000.0;
                deviation = LATENCY_NOISE_DEVIATION;
            }
            is_lemon = catalogue.is_lemon_rank(rank);
            Uri::Product(Pages::of(catalogue.product_at_rank(rank)).as_array()[section])
        } else {
            Uri::Other(page.index(page_draw))
        };
        history.lemons += u8::from(is_lemon);
        history.outliers += u8::from(is_outlier);
        Pageview {
            offset_ms: history.offset_ms,
            method: choose(methods, method),
            uri,
            client_ip: (!no_ip).then_some(client_ip),
            latency: if is_outlier {
                Latency::outlier(rng)
            } else {
                Latency::usual(mean, deviation, rng)
            },
            is_lemon,
        }
    }

    /// The rank of the product that is viewed, and the index of its page: first the main page, then possibly another
    /// one.
    #[inline]
    fn product(
        self,
        catalogue: &Catalogue,
        history: &mut History,
        page_draw: u64,
        rng: &mut RecordRng,
    ) -> (u64, usize) {
        if self.is_robot {
            return (below(rng, catalogue.len()), (page_draw % 3) as usize);
        }
        let shelf = u64::from(self.favourite_shelf);
        let Some((first, last)) = history.products else {
            let rank = catalogue.draw_rank(shelf, None, rng);
            history.products = Some((rank as u32, rank as u32));
            return (rank, 0);
        };
        // In a third of the cases, another page of the last product is viewed.
        if page_draw < 2 {
            return (u64::from(last), 1 + page_draw as usize);
        }
        let rank = catalogue.draw_rank(shelf, Some(u64::from(first)), rng);
        history.products = Some((first, rank as u32));
        (rank, 0)
    }
}

impl Page {
    /// The page as an index into [`super::OTHER_PAGES`]; a category is sometimes the result of a search.
    fn index(self, page_draw: u64) -> u8 {
        match self {
            Self::Home | Self::Product => 0,
            Self::Category if page_draw < 2 => 1,
            Self::Basket => 2,
            Self::Checkout => 3,
            Self::SignIn => 4,
            Self::Account => 5,
            Self::Category => 6,
            Self::Contact => 7,
        }
    }
}
