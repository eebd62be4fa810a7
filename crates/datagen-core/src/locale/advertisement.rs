//! Descriptions of products: one Czech sentence about an article from the shelf of the product.

use fake::Dummy;
use rand::{Rng, RngExt};

use super::tables;
use crate::rng::below;
use crate::text::{Cursor, WriteText, text_value};

/// The number of categories of articles.
pub const CATEGORY_COUNT: usize = tables::CATEGORY_SLUGS.len();

/// The category of the articles on a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Category(u8);

impl Category {
    /// The category of a shelf. Neighbouring shelves have different categories, and all categories are equally
    /// frequent.
    #[inline]
    pub fn of_shelf(shelf: u64) -> Self {
        Self((shelf % CATEGORY_COUNT as u64) as u8)
    }

    /// All categories.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CATEGORY_COUNT as u8).map(Self)
    }

    /// The name: `Zahrada`.
    pub fn name(self) -> &'static str {
        tables::CATEGORY_NAMES[usize::from(self.0)]
    }

    /// The name as part of an address, in lower-case ASCII: `zahrada`.
    #[inline]
    pub fn slug(self) -> &'static str {
        tables::CATEGORY_SLUGS[usize::from(self.0)]
    }
}

/// The number of forms of an adjective: masculine, feminine, neuter and plural.
const FORMS: usize = 4;

/// An advertisement of one sentence: `Oblíbený nerezový hrnec do každé kuchyně, doprava zdarma.`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    adjective: u16,
    article: u16,
    used_for: u16,
    service: u16,
}
text_value!(Advertisement);

/// An advertisement of an article of this category.
#[derive(Clone, Copy, Debug)]
pub struct AdvertisementOf(pub Category);

impl Dummy<AdvertisementOf> for Advertisement {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&AdvertisementOf(category): &AdvertisementOf, rng: &mut R) -> Self {
        let category = usize::from(category.0);
        let article = one_of(tables::ARTICLE_STARTS, category, rng);
        let gender = u16::from(tables::ARTICLE_GENDERS[usize::from(article)]);
        let adjectives = tables::ARTICLE_ADJECTIVES.len() / FORMS;
        Self {
            adjective: below(rng, adjectives as u64) as u16 * FORMS as u16 + gender,
            article,
            used_for: one_of(tables::ARTICLE_USE_STARTS, category, rng),
            service: below(rng, tables::ARTICLE_SERVICES.len() as u64) as u16,
        }
    }
}

/// Draws the number of one of the texts of a category, which lie between two entries of `starts`.
#[inline]
fn one_of<R: Rng + ?Sized>(starts: &[u16], category: usize, rng: &mut R) -> u16 {
    let (first, end) = (starts[category], starts[category + 1]);
    first + below(rng, u64::from(end - first)) as u16
}

impl WriteText for Advertisement {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        tables::ARTICLE_ADJECTIVES.write(usize::from(self.adjective), out);
        out.push_ascii(b' ');
        tables::ARTICLES.write(usize::from(self.article), out);
        out.push_ascii(b' ');
        tables::ARTICLE_USES.write(usize::from(self.used_for), out);
        out.push_str(", ");
        tables::ARTICLE_SERVICES.write(usize::from(self.service), out);
        out.push_ascii(b'.');
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fake::Fake;

    use super::*;
    use crate::locale::test_rng;

    #[test]
    fn categories_have_distinct_names_and_many_different_sentences() {
        let slugs: HashSet<_> = Category::all().map(Category::slug).collect();
        assert_eq!(slugs.len(), CATEGORY_COUNT);
        for category in Category::all() {
            let slug = category.slug();
            assert!(slug.bytes().all(|byte| byte.is_ascii_lowercase()), "{slug}");
            let texts: HashSet<_> = (0..1_000)
                .map(|id| {
                    let text: Advertisement = AdvertisementOf(category).fake_with_rng(&mut test_rng(id));
                    text.to_string()
                })
                .collect();
            assert!(texts.len() > 800, "{}: {}", category.name(), texts.len());
        }
    }
}
