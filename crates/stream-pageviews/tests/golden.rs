//! The first messages of two streams, with the fields of their events, pinned by their SHA-256.
//!
//! A failure here means that the messages of a stream with STREAM_FROM have changed in their bytes or their order,
//! although event ids promise equal bytes. If this is intended, raise `datagen_core::model::DATA_VERSION`, which
//! changes the ids.

use std::sync::Arc;

use datagen_core::model::Profile;
use datagen_core::model::session::{DeliveryFaults, Pause, Sessions, StreamTag};
use sha2::{Digest, Sha256};
use stream_pageviews::batch::Batch;
use stream_pageviews::schedule::{Schedule, StreamPlan};

/// Returns the digest of an hour of 20 sources with late messages and duplicates, one message per line.
fn digest(profile: Profile) -> String {
    let start_ms = 1_769_904_000_000;
    let plan = StreamPlan {
        sessions: Sessions::new(profile, 0, 999_999, 999),
        faults: DeliveryFaults::new(0, 100, 50),
        pause: Pause {
            mean: 10.0,
            stddev: 5.0,
        },
        sources: 20,
        session_count: None,
        start_ms,
        end_ms: Some(start_ms + 3_600_000),
        tag: StreamTag::new(&[0, 1, 2]),
        event_fields: true,
    };
    let mut schedule = Schedule::new(Arc::new(plan.clone()), 0..20);
    let (mut batch, mut hash) = (Batch::default(), Sha256::new());
    while schedule.next_key().is_some() {
        batch.clear();
        schedule.fill(&mut batch, u64::MAX);
        for message in batch.messages(plan.tag) {
            hash.update(message.payload);
            hash.update("\n");
        }
    }
    format!("{:x}", hash.finalize())
}

#[test]
fn shop() {
    assert_eq!(
        digest(Profile::Shop),
        "e4f3c96891a2e11939a29bd5968ea02545d3583d33d41394441c48aebde0c227"
    );
}

#[test]
fn uniform() {
    assert_eq!(
        digest(Profile::Uniform),
        "f49c17c7c450a32a080331a2cce3e8d6f6da2e429a36c05fba1b3d4aee35ef1f"
    );
}
