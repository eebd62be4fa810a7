//! Speed of making and encoding records on one core, without a destination.

use std::hint::black_box;

use chrono::NaiveDate;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datagen_core::model::Profile;
use datagen_core::model::order::{OrderRange, Orders};
use datagen_core::model::product::Products;
use datagen_core::model::session::{Event, EventEncoder, OpenSession, Sessions, StreamTag};
use datagen_core::model::user::Users;
use datagen_core::text::TextBuf;

const BATCH: u64 = 1_000;

/// Users as JSON lines: records and bytes a second.
fn users(criterion: &mut Criterion) {
    let users = Users::new(0, 1 << 30);
    let mut out = TextBuf::with_capacity(1 << 20);
    (0..BATCH).for_each(|id| users.get(id).write_json_line(&mut out));
    let bytes = out.len() as u64;

    let mut group = criterion.benchmark_group("users");
    group.throughput(Throughput::ElementsAndBytes {
        elements: BATCH,
        bytes,
    });
    group.bench_function("json", |bencher| {
        let mut start = 0;
        bencher.iter(|| {
            out.clear();
            (start..start + BATCH).for_each(|id| users.get(id).write_json_line(&mut out));
            start += BATCH;
            black_box(out.as_bytes());
        });
    });
    group.bench_function("serde_json", |bencher| {
        let mut start = 0;
        let mut out = Vec::with_capacity(1 << 20);
        bencher.iter(|| {
            out.clear();
            for id in start..start + BATCH {
                serde_json::to_writer(&mut out, &users.get(id)).expect("users are JSON");
                out.push(b'\n');
            }
            start += BATCH;
            black_box(&out);
        });
    });
    group.finish();
}

fn products(criterion: &mut Criterion) {
    let products = Products::new(0, 1 << 30);
    let mut out = TextBuf::with_capacity(1 << 20);
    let mut group = criterion.benchmark_group("products");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("json", |bencher| {
        let mut start = 0;
        bencher.iter(|| {
            out.clear();
            (start..start + BATCH).for_each(|id| products.get(id).write_json_line(&mut out));
            start += BATCH;
            black_box(out.as_bytes());
        });
    });
    group.finish();
}

/// Orders with their items: rows of both tables a second.
fn orders(criterion: &mut Criterion) {
    let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).expect("a date");
    let range = OrderRange {
        user_max_id: 999_999,
        product_max_id: 999_999,
        dates: day(2016)..day(2026),
    };
    let mut group = criterion.benchmark_group("orders");
    for profile in Profile::ALL {
        let orders = Orders::new(profile, 0, 10_000_000, &range);
        let rows = (1..=BATCH)
            .map(|id| 1 + orders.get(id).items().len() as u64)
            .sum();
        group.throughput(Throughput::Elements(rows));
        group.bench_function(format!("rows/{profile}"), |bencher| {
            let mut start = 1;
            bencher.iter(|| {
                (start..start + BATCH).for_each(|id| {
                    black_box(orders.get(id));
                });
                start = (start + BATCH) % 9_000_000;
            });
        });
    }
    group.finish();
}

fn pageviews(criterion: &mut Criterion) {
    let mut out = TextBuf::with_capacity(16 << 20);
    let mut group = criterion.benchmark_group("pageviews");
    for profile in Profile::ALL {
        let sessions = Sessions::new(profile, 0, 999_999, 999);
        let pageviews = (0..BATCH).map(|id| sessions.get(id).pageview_count).sum();
        group.throughput(Throughput::Elements(pageviews));
        group.bench_function(format!("json/{profile}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                for id in 0..BATCH {
                    let session = sessions.get(id);
                    for pageview in session.pageviews() {
                        session.write_pageview_json(&pageview, &mut out);
                    }
                }
                black_box(out.as_bytes());
            });
        });
        // As a stream makes them: with the fields of their events, from sessions that stay open.
        let mut encoder = EventEncoder::new(StreamTag::new(&[]), true);
        group.bench_function(format!("events/{profile}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                for id in 0..BATCH {
                    let mut session = OpenSession::start(&sessions.get(id));
                    while let Some(offset) = session.next_offset_ms(&sessions) {
                        let event = Event {
                            time_ms: 1_795_687_200_000 + u64::from(offset),
                            session: id,
                            position: session.position(),
                        };
                        if let Some(message) = session.next_message(&sessions) {
                            session.write_json(&message, event, &mut encoder, &mut out);
                        }
                    }
                }
                black_box(out.as_bytes());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, users, products, orders, pageviews);
criterion_main!(benches);
