//! Sessions of the profile `uniform`: every value is drawn uniformly and independently of the others, and all
//! pageviews occur at the same time.
//!
//! The draws are those of data version 2; a test ensures this.

use fake::{Fake, Faker};
use rand_distr::{Distribution, StandardNormal};

use super::{
    EMPTY_IP_ONE_IN, Latency, MAX_PAGEVIEWS, OUTLIER_ONE_IN, Pageview, STARS_ONE_IN, Session, SessionModel,
    StarCause, StarRating, USUAL_LATENCY, USUAL_LATENCY_DEVIATION, Uri,
};
use crate::locale::network::ClientIp;
use crate::model::product::Pages;
use crate::rng::{RecordRng, below, chance};

/// One pageview in this many is of a page that does not belong to a product.
const OTHER_PAGE_ONE_IN: u64 = 10;

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

/// Session `id` of one of `users` users who view `products` products, drawn with `rng`.
pub(super) fn session(id: u64, users: u64, products: u64, mut rng: RecordRng) -> Session<'static> {
    Session {
        id,
        pause: StandardNormal.sample(&mut rng),
        user_id: below(&mut rng, users),
        client_ip: Faker.fake_with_rng(&mut rng),
        user_agent: Faker.fake_with_rng(&mut rng),
        pageview_count: 1 + below(&mut rng, MAX_PAGEVIEWS),
        stars: chance(&mut rng, 1, STARS_ONE_IN).then(|| StarRating {
            stars: 1 + below(&mut rng, 5) as u8,
            cause: StarCause::Nothing,
            offset_ms: 0,
        }),
        rng,
        model: SessionModel::Uniform { products },
    }
}

/// The next pageview, drawn with `rng`.
#[inline]
pub(super) fn pageview(products: u64, client_ip: ClientIp, rng: &mut RecordRng) -> Pageview {
    // One random word decides all choices with few outcomes.
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
        Uri::Product(Pages::of(below(rng, products)).as_array()[(page % 3) as usize])
    };
    Pageview {
        offset_ms: 0,
        method,
        uri,
        client_ip: (!no_ip).then_some(client_ip),
        latency: if outlier {
            Latency::outlier(rng)
        } else {
            Latency::usual(USUAL_LATENCY, USUAL_LATENCY_DEVIATION, rng)
        },
        is_lemon: false,
    }
}
