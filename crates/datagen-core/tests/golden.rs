//! The first thousand records of each kind under seed 0, pinned by their SHA-256.
//!
//! A failure here means that the data of every user of the system changes. If that is meant, raise
//! `model::DATA_VERSION` and pin the new digests; a user who compares two runs must be able to tell why they
//! differ.

use chrono::NaiveDate;
use datagen_core::model::Profile;
use datagen_core::model::order::{OrderRange, Orders};
use datagen_core::model::product::Products;
use datagen_core::model::session::{Pause, Sessions};
use datagen_core::model::user::Users;
use datagen_core::model::vip::Vips;
use datagen_core::text::TextBuf;
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The digest of what `write` writes for 0..1000.
fn digest(mut write: impl FnMut(u64, &mut TextBuf)) -> String {
    let mut out = TextBuf::default();
    (0..1_000).for_each(|id| write(id, &mut out));
    sha256(out.as_bytes())
}

#[test]
fn users() {
    let users = Users::new(0);
    let digest = digest(|id, out| users.get(id).write_json_line(out));
    assert_eq!(
        digest,
        "ab3bf62b7969a42818d13f63a7d80d1c9294114aff50d4c87e99927168bfe7a2"
    );
}

#[test]
fn vip_users() {
    let vips = Vips::new(1_000_000);
    let digest = digest(|index, out| vips.write_json_line(index, out));
    assert_eq!(
        digest,
        "0f809b9f22b7d93c4652615b53d4fdaad51fc2ac8ac5102f7062bf0f89bc8c8d"
    );
}

#[test]
fn products() {
    let products = Products::new(0);
    let digest = digest(|id, out| products.get(id).write_json(out));
    assert_eq!(
        digest,
        "7e30daf07372be450110b05b3a0ac504c56842d27ac4ce0ec1b86d43056e3ab4"
    );
}

#[test]
fn orders_with_items() {
    let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
    let range = OrderRange {
        user_max_id: 999_999,
        product_max_id: 999_999,
        dates: day(2016)..day(2026),
    };
    let orders = Orders::new(Profile::Uniform, 0, 1_000, &range);
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
    assert_eq!(
        sha256(rows.as_bytes()),
        "86c9a5e0fb2db2ba0d7951589e3645bc265a3c8802928d1d88fb9fe91d1a3db7"
    );
}

#[test]
fn sessions() {
    let sessions = Sessions::new(Profile::Uniform, 0, 999_999, 999_999);
    let pause = Pause {
        mean: 10.0,
        stddev: 5.0,
    };
    let digest = digest(|id, out| {
        let session = sessions.get(id);
        let millis = pause.before(&session).as_millis() as u64;
        out.append(20, |out| out.push_number(millis));
        session
            .pageviews()
            .for_each(|pageview| session.write_pageview_json(&pageview, out));
        session.write_stars_json(out);
    });
    assert_eq!(
        digest,
        "045daa4961d3295a5f430ac6d9315d9ba3feda89efbf4794309e2bc6cd751eb3"
    );
}
