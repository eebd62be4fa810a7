//! The first thousand records of each kind under seed 0, pinned by their SHA-256.
//!
//! A failure here means that the data change for every user of the system. If that is intended, increase
//! `model::DATA_VERSION` and pin the new digests, so that users who compare two runs can find out why they differ.

use chrono::NaiveDate;
use datagen_core::model::Profile;
use datagen_core::model::order::{OrderRange, Orders};
use datagen_core::model::product::Products;
use datagen_core::model::session::{Pause, Sessions};
use datagen_core::model::user::Users;
use datagen_core::model::vip::Vips;
use datagen_core::text::TextBuf;
use datagen_core::world::World;
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The digest of the output of `write` for the ids 0..1000.
fn digest(mut write: impl FnMut(u64, &mut TextBuf)) -> String {
    let mut out = TextBuf::default();
    (0..1_000).for_each(|id| write(id, &mut out));
    sha256(out.as_bytes())
}

#[test]
fn users() {
    let users = Users::new(0, 1_000_000);
    let digest = digest(|id, out| users.get(id).write_json_line(out));
    assert_eq!(
        digest,
        "3446e670fde87d129d19c97c87cee0daeb8444260ba5492d8d2bd7401037d7bd"
    );
}

#[test]
fn vip_users() {
    let vips = Vips::new(1_000_000);
    let digest = digest(|index, out| vips.write_json_line(index, out));
    assert_eq!(
        digest,
        "2b9cf693919d9bd328231c55f992a9d37a1fbf7b107ed4bc1b949ae311afd430"
    );
}

#[test]
fn products() {
    let products = Products::new(0, 1_000);
    let digest = digest(|id, out| products.get(id).write_json_line(out));
    assert_eq!(
        digest,
        "ad29cb1ba77fde612d2e8c271492be2d8199c7c6f42dd491f6497e17b5f66977"
    );
}

fn orders_digest(profile: Profile) -> String {
    let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
    let range = OrderRange {
        user_max_id: 999_999,
        product_max_id: 999_999,
        dates: day(2016)..day(2026),
    };
    let orders = Orders::new(profile, 0, 1_000, &range);
    let rows: String = (1..=1_000)
        .map(|id| {
            let order = orders.get(id);
            let (date, value) = (order.date_time(), order.order_value);
            format!(
                "{}\t{}\t{date}\t{value}\t{:?}\n",
                order.order_id,
                order.user_id,
                order.items()
            )
        })
        .collect();
    sha256(rows.as_bytes())
}

/// The digest is the same as in data version 2.
#[test]
fn uniform_orders_with_items() {
    assert_eq!(
        orders_digest(Profile::Uniform),
        "86c9a5e0fb2db2ba0d7951589e3645bc265a3c8802928d1d88fb9fe91d1a3db7"
    );
}

#[test]
fn shop_orders_with_items() {
    assert_eq!(
        orders_digest(Profile::Shop),
        "a65f3bd72d11f8a2ef8da50574001ff59af67346f59ed013f4f80fe0c27f0de9"
    );
}

fn sessions_digest(profile: Profile) -> String {
    let sessions = Sessions::new(profile, 0, 999_999, 999_999);
    let pause = Pause {
        mean: 10.0,
        stddev: 5.0,
    };
    digest(|id, out| {
        let session = sessions.get(id);
        let millis = pause.before(&session).as_millis() as u64;
        out.append(20, |out| out.push_number(millis));
        session
            .pageviews()
            .for_each(|pageview| session.write_pageview_json(&pageview, out));
        session.write_stars_json(out);
    })
}

/// The digest is the same as in data version 2.
#[test]
fn uniform_sessions() {
    assert_eq!(
        sessions_digest(Profile::Uniform),
        "045daa4961d3295a5f430ac6d9315d9ba3feda89efbf4794309e2bc6cd751eb3"
    );
}

#[test]
fn shop_sessions() {
    assert_eq!(
        sessions_digest(Profile::Shop),
        "45199abded588d8bdd2d0fa5edb8e36ba6f2ff39d0df1a95082d5544654756f9"
    );
}

/// The times of the pageviews and star ratings.
#[test]
fn shop_session_times() {
    let sessions = Sessions::new(Profile::Shop, 0, 999_999, 999);
    let digest = digest(|id, out| {
        let session = sessions.get(id);
        let pageviews = session.pageviews().map(|pageview| pageview.offset_ms);
        let stars = session.stars.map(|stars| stars.offset_ms);
        for offset in pageviews.chain(stars) {
            out.append(20, |out| out.push_number(u64::from(offset)));
        }
    });
    assert_eq!(
        digest,
        "1ac7cda61e5bcd505ecfead879d752d5118acec60d40a03f21407fa9ec4aef18"
    );
}

/// The facts about users and products, which do not depend on the seed.
#[test]
fn the_world() {
    let world = World::new(1_000_000, 1_000);
    let World {
        population,
        catalogue,
    } = &world;
    let digest = digest(|id, out| {
        let facts = [
            population.rank_of_user(id),
            u64::from(population.birth_year(id)),
            population.sign_up(id) as u64,
            catalogue.shelf_of_word(population.favourite_shelf_word(id)),
            u64::from(u32::from(population.home_address(id).0)),
            catalogue.rank_of_product(id),
            catalogue.price(id),
            u64::from(catalogue.is_lemon(id)),
        ];
        for fact in facts {
            out.append(21, |out| {
                out.push_number(fact);
                out.push_ascii(b'\n');
            });
        }
        out.append(640, |out| out.push_str(population.browser(id).as_str()));
    });
    assert_eq!(
        digest,
        "7df2254603ce93b085d28800b9683e96fe36891db167ba9c19df70f873ed30dc"
    );
}
