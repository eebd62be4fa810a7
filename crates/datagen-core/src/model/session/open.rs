//! The state of an open session. It must be small, because a stream with 100 000 sources has about two million open
//! sessions.

use super::{
    Event, EventEncoder, Pageview, Session, SessionModel, SessionProgress, Sessions, StarRating, shop,
    uniform,
};
use crate::locale::network::{ClientIp, UserAgent};
use crate::model::planted::SessionEffects;
use crate::text::TextBuf;

/// A session whose messages are generated one after the other: the pageviews, then the star rating if there is one.
#[derive(Clone, Debug)]
pub struct OpenSession {
    id: u64,
    progress: SessionProgress,
    stars: Option<StarRating>,
    visitor: shop::ShopVisitor,
    start_effects: SessionEffects,
    /// Ids fit into 31 bits.
    user_id: u32,
    client_ip: ClientIp,
    user_agent: UserAgent,
    pageview_count: u8,
    is_rated: bool,
}

/// A message of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SessionMessage {
    /// A pageview.
    Pageview(Pageview),
    /// The star rating after the pageviews.
    Stars(StarRating),
}

impl OpenSession {
    /// The session before its first message.
    pub fn start(session: &Session<'_>) -> Self {
        Self {
            id: session.id,
            progress: session.start(),
            stars: session.stars,
            visitor: match &session.model {
                SessionModel::Shop(shop) => shop.visitor,
                SessionModel::Uniform { .. } => shop::ShopVisitor::default(),
            },
            start_effects: SessionEffects::of_session(session),
            user_id: session.user_id as u32,
            client_ip: session.client_ip,
            user_agent: session.user_agent,
            pageview_count: session.pageview_count as u8,
            is_rated: false,
        }
    }

    /// The session's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The user.
    pub fn user_id(&self) -> u64 {
        u64::from(self.user_id)
    }

    /// The position of the next message in the session, from 0.
    pub fn position(&self) -> u8 {
        self.progress.made + u8::from(self.is_rated)
    }

    /// The time of the next message, in milliseconds after the start of the session; `None` after the last.
    /// `sessions` must be the sessions that this one belongs to.
    #[inline]
    pub fn next_offset_ms(&self, sessions: &Sessions) -> Option<u32> {
        if self.progress.made < self.pageview_count {
            Some(match sessions.world() {
                Some(_) => self
                    .progress
                    .history
                    .next_offset_ms(self.visitor, &self.progress.rng),
                None => 0,
            })
        } else if self.is_rated {
            None
        } else {
            self.stars.map(|rating| rating.offset_ms)
        }
    }

    /// Generates the next message, or returns `None` after the last. `sessions` must be the sessions that this one
    /// belongs to.
    #[inline]
    pub fn next_message(&mut self, sessions: &Sessions) -> Option<SessionMessage> {
        if self.progress.made < self.pageview_count {
            self.progress.made += 1;
            let SessionProgress { rng, history, .. } = &mut self.progress;
            return Some(SessionMessage::Pageview(match sessions.world() {
                Some(world) => self.visitor.pageview(world, self.client_ip, history, rng),
                None => uniform::pageview(sessions.products, self.client_ip, rng),
            }));
        }
        let rating = self.stars.filter(|_| !self.is_rated)?;
        self.is_rated = true;
        Some(SessionMessage::Stars(rating))
    }

    /// The effects of `message`, which must be the last one generated. The first message also has the effects of the
    /// session as a whole.
    #[inline]
    pub fn effects(&self, message: &SessionMessage) -> SessionEffects {
        match message {
            SessionMessage::Pageview(pageview) => {
                let effects = SessionEffects::of_pageview(pageview, self.start_effects);
                if self.progress.made == 1 {
                    effects | self.start_effects
                } else {
                    effects
                }
            }
            SessionMessage::Stars(rating) => SessionEffects::of_stars(rating),
        }
    }

    /// Appends `message` as one JSON object, without a line feed.
    #[inline]
    pub fn write_json(
        &self,
        message: &SessionMessage,
        event: Event,
        encoder: &mut EventEncoder,
        out: &mut TextBuf,
    ) {
        match message {
            SessionMessage::Pageview(pageview) => {
                encoder.write_pageview_json((self.user_id(), self.user_agent), pageview, event, out);
            }
            SessionMessage::Stars(rating) => encoder.write_stars_json(self.user_id(), *rating, event, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Profile;
    use crate::model::planted::SessionCounts;
    use crate::model::session::StreamTag;

    #[test]
    fn an_open_session_makes_the_messages_of_the_session() {
        for profile in Profile::ALL {
            let sessions = Sessions::new(profile, 4, 999, 99);
            let mut encoder = EventEncoder::new(StreamTag::new(&[]), false);
            let (mut expected, mut found) = (TextBuf::default(), TextBuf::default());
            let (mut expected_counts, mut found_counts) =
                (SessionCounts::default(), SessionCounts::default());
            for id in 0..3_000 {
                let session = sessions.get(id);
                let mut open = OpenSession::start(&session);
                let offsets = session.pageviews().map(|pageview| pageview.offset_ms);
                for offset in offsets.chain(session.stars.map(|rating| rating.offset_ms)) {
                    assert_eq!(open.next_offset_ms(&sessions), Some(offset));
                    let event = Event {
                        time_ms: 0,
                        session: id,
                        position: open.position(),
                    };
                    let message = open.next_message(&sessions).unwrap();
                    open.write_json(&message, event, &mut encoder, &mut found);
                    found_counts.add(open.effects(&message));
                    assert_eq!(open.position(), event.position + 1);
                }
                assert_eq!(open.next_offset_ms(&sessions), None);
                assert_eq!(open.next_message(&sessions), None);
                for pageview in session.pageviews() {
                    session.write_pageview_json(&pageview, &mut expected);
                }
                session.write_stars_json(&mut expected);
                expected_counts.add_whole(&session);
            }
            assert!(expected.as_bytes() == found.as_bytes(), "{profile}");
            assert_eq!(found_counts, expected_counts, "{profile}");
        }
    }

    /// This size determines the memory that a stream requires.
    #[test]
    fn an_open_session_is_small() {
        assert!(size_of::<OpenSession>() <= 104, "{}", size_of::<OpenSession>());
    }
}
