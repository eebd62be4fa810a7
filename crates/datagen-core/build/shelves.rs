//! Tables of the articles on the shelves of the shop, and of what advertisements say about them.

use crate::input::read;
use crate::output::Output;

/// Categories, and the articles, uses, adjectives and services that advertisements are composed of.
pub(crate) fn shelves(out: &mut Output) {
    let rows = read("shelves", 4);
    let mut categories: Vec<_> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    categories.dedup();
    assert_eq!(categories.pop().expect("what suits all").0, "-");
    let part = |slug: &str, part: &str| -> Vec<&str> {
        let row = rows.iter().find(|row| row[0] == slug && row[2] == part);
        row.map_or(Vec::new(), |row| row[3].split("; ").collect())
    };
    // Articles of all categories, their genders, and where the articles of each category begin; likewise for the
    // uses.
    let (mut articles, mut genders, mut article_starts) = (Vec::new(), Vec::new(), vec![0]);
    let (mut uses, mut use_starts) = (Vec::new(), vec![0]);
    for (slug, _) in &categories {
        for (gender, code) in ["m", "f", "n", "p"].into_iter().enumerate() {
            for text in part(slug, code) {
                articles.push(text);
                genders.push(gender as u64);
            }
        }
        uses.extend(part(slug, "t"));
        article_starts.push(articles.len() as u64);
        use_starts.push(uses.len() as u64);
    }
    out.texts("ARTICLES", 48, articles);
    out.numbers("ARTICLE_GENDERS", "u8", genders);
    out.numbers("ARTICLE_STARTS", "u16", article_starts);
    out.texts("ARTICLE_USES", 48, uses);
    out.numbers("ARTICLE_USE_STARTS", "u16", use_starts);
    let adjectives = part("-", "a").into_iter().flat_map(|forms| {
        assert_eq!(forms.split('/').count(), 4, "shelves: {forms:?}");
        forms.split('/').map(capitalize)
    });
    out.texts("ARTICLE_ADJECTIVES", 32, adjectives);
    out.texts("ARTICLE_SERVICES", 48, part("-", "s"));
    out.strings("CATEGORY_SLUGS", categories.iter().map(|category| &category.0));
    out.strings("CATEGORY_NAMES", categories.iter().map(|category| &category.1));
}

fn capitalize(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}
