//! A product of the shop: one JSON file each, `products/product_{id}.json`.

use fake::Fake;
use serde::{Serialize, Serializer};

use crate::locale::advertisement::{Advertisement, AdvertisementOf, Category};
use crate::rng::{Kind, RecordSeed, below};
use crate::text::{Cursor, TextBuf, WriteText, text_value};
use crate::world::Catalogue;

/// The shop's address. `.example` is reserved (RFC 2606), so it is never the address of a real site.
pub const SHOP: &str = "https://www.obchod.example";

/// The suffixes of the addresses of a product's pages; the first is that of its main page.
pub const SECTIONS: [&str; 8] = [
    "",
    "/parametry",
    "/recenze",
    "/fotogalerie",
    "/diskuse",
    "/dostupnost",
    "/prislusenstvi",
    "/navod",
];

/// A product.
#[derive(Clone, Debug, Serialize)]
pub struct Product {
    /// From 0.
    pub id: u64,
    /// `product_{id}`.
    pub name: ProductName,
    /// One sentence about an article of the product's shelf.
    pub description: Advertisement,
    /// Three pages of the product in the shop, which pageviews refer to.
    pub pages: Pages,
}

/// `product_{id}`.
#[derive(Clone, Copy, Debug)]
pub struct ProductName(pub u64);
text_value!(ProductName);

impl WriteText for ProductName {
    fn write_text(&self, out: &mut Cursor<'_>) {
        out.push_str("product_");
        out.push_number(self.0);
    }
}

impl ProductName {
    /// The name of the product's file.
    pub fn file_name(self) -> String {
        format!("product_{}.json", self.0)
    }

    /// The product whose file has this name, or `None` if it is not the name of a product's file.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let id = name.strip_prefix("product_")?.strip_suffix(".json")?;
        let product = Self(id.parse().ok()?);
        // Rejects other spellings of a number, such as 007.
        (product.file_name() == name).then_some(product)
    }
}

/// The address of a page of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageUri {
    product: u64,
    section: u8,
}
text_value!(PageUri);

impl WriteText for PageUri {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        out.push_str(SHOP);
        out.push_str("/produkt/");
        out.push_number(self.product);
        out.push_str(SECTIONS[usize::from(self.section)]);
    }
}

/// The three pages of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages([PageUri; 3]);

impl Pages {
    /// The pages of product `id`: its main page and two different others.
    ///
    /// They depend only on the id: the addresses of a shop's pages do not change with the data in it, and the stream,
    /// whose seed is random by default, must name pages that exist.
    #[inline]
    pub fn of(id: u64) -> Self {
        let rng = &mut RecordSeed::new(0, Kind::ProductPages).rng(id);
        let others = SECTIONS.len() as u64 - 1;
        let draw = below(rng, others * (others - 1));
        let (first, mut second) = (draw % others, draw / others);
        second += u64::from(second >= first);
        Self([0, first + 1, second + 1].map(|section| PageUri {
            product: id,
            section: section as u8,
        }))
    }

    /// The pages.
    pub fn as_array(&self) -> &[PageUri; 3] {
        &self.0
    }
}

impl Serialize for Pages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The products of one seed.
#[derive(Clone, Debug)]
pub struct Products {
    seed: RecordSeed,
    catalogue: Catalogue,
}

impl Products {
    /// The products `0..count` of `seed`, at most 2^31. Their shelves are facts of the world, which depend on `count`
    /// and not on `seed`.
    pub fn new(seed: u64, count: u64) -> Self {
        Self {
            seed: RecordSeed::new(seed, Kind::Product),
            catalogue: Catalogue::new(count),
        }
    }

    /// Product `id`.
    ///
    /// # Panics
    /// If there is no such product.
    pub fn get(&self, id: u64) -> Product {
        let rng = &mut self.seed.rng(id);
        let category = Category::of_shelf(self.catalogue.shelf_of_product(id));
        Product {
            id,
            name: ProductName(id),
            description: AdvertisementOf(category).fake_with_rng(rng),
            pages: Pages::of(id),
        }
    }
}

impl Product {
    /// Appends the product as a line of JSON, including the line feed.
    pub fn write_json_line(&self, out: &mut TextBuf) {
        out.append(1_024, |out| {
            out.push_str("{\"id\":");
            out.push_number(self.id);
            out.push_str(",\"name\":\"");
            self.name.write_text(out);
            out.push_str("\",\"description\":\"");
            self.description.write_text(out);
            let [first, second, third] = &self.pages.0;
            for (before, page) in [("\",\"pages\":[\"", first), ("\",\"", second), ("\",\"", third)] {
                out.push_str(before);
                page.write_text(out);
            }
            out.push_str("\"]}\n");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_read_as_it_is_written() {
        for id in [0, 7, 2_147_483_647] {
            let name = ProductName(id).file_name();
            assert_eq!(
                ProductName::from_file_name(&name).map(|product| product.0),
                Some(id)
            );
        }
        for other in [
            "product_.json",
            "product_07.json",
            "product_+7.json",
            "product_7",
            "xproduct_7.json",
        ] {
            assert!(ProductName::from_file_name(other).is_none(), "{other}");
        }
    }

    #[test]
    fn pages_are_three_different_ones_of_the_product() {
        let mut seen = std::collections::HashSet::new();
        for id in 0..1_000 {
            let pages = Pages::of(id);
            let texts: Vec<_> = pages.as_array().iter().map(PageUri::to_string).collect();
            assert!(
                texts
                    .iter()
                    .all(|page| page.starts_with(&format!("{SHOP}/produkt/{id}")))
            );
            assert_ne!(texts[0], texts[1]);
            assert_ne!(texts[0], texts[2]);
            assert_ne!(texts[1], texts[2]);
            seen.extend(pages.as_array().iter().map(|page| page.section));
        }
        assert_eq!(seen.len(), SECTIONS.len());
    }
}
