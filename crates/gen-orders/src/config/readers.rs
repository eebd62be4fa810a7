//! The identities that SQL_READERS names.

use std::collections::HashSet;

use datagen_settings::ConfigurationErrors;
use datagen_settings::catalog::DatabaseSettings;
use uuid::Uuid;

/// The longest name of a database user, in UTF-16 code units (`sysname`).
const MAX_NAME: usize = 128;

/// The length of a GUID with hyphens. Other notations, such as one in braces, are not accepted.
const GUID_LENGTH: usize = 36;

/// A Microsoft Entra identity that may read the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The kind of identity.
    pub kind: ReaderKind,
    /// The object ID of a user or group, the client ID of an application.
    pub id: Uuid,
    /// The name of the database user that is created for it.
    pub name: String,
}

/// The kinds of Entra identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderKind {
    /// A person.
    User,
    /// A group of users.
    Group,
    /// A service principal or managed identity.
    Application,
}

impl ReaderKind {
    fn parse(text: &str) -> Option<Self> {
        let kinds = [
            ("user", Self::User),
            ("group", Self::Group),
            ("application", Self::Application),
        ];
        let kind = kinds.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
        kind.map(|(_, kind)| *kind)
    }
}

/// Reads the value of SQL_READERS. Errors name an entry by its number, since its text may be something that was put
/// into the wrong variable.
pub(super) fn read(text: &str, problems: &mut ConfigurationErrors) -> Vec<Reader> {
    let mut readers = Vec::new();
    let mut names = HashSet::new();
    for (number, entry) in (1..).zip(text.split(';')) {
        let mut report = |problem: &str| {
            problems.report(
                &DatabaseSettings::SQL_READERS,
                format_args!("has an entry (number {number}) {problem}"),
            );
        };
        let mut parts = entry.trim().splitn(3, ':');
        let (Some(kind), Some(id), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            report(
                "that is not KIND:ID:NAME: give for example user:00000000-0000-0000-0000-000000000000:ada, and a \
                 semicolon only between entries",
            );
            continue;
        };
        let kind = ReaderKind::parse(kind);
        if kind.is_none() {
            report("that does not begin with its kind: give user, group or application");
        }
        let id = (id.len() == GUID_LENGTH)
            .then(|| Uuid::try_parse(id).ok())
            .flatten();
        if id.is_none() {
            report(
                "whose ID is not a GUID: give the object ID of a user or group, or the client ID of an application",
            );
        }
        let is_name = (1..=MAX_NAME).contains(&name.encode_utf16().count()) && !name.contains(['[', ']']);
        if !is_name {
            report(
                "whose name cannot be that of a database user: give 1 to 128 characters other than [ and ]",
            );
        } else if !names.insert(name.to_lowercase()) {
            // Azure SQL does not distinguish upper and lower case in names, unless a database was created to do so.
            report("whose name is that of an earlier entry: give each entry a different name");
        }
        if let (Some(kind), Some(id)) = (kind, id) {
            let name = name.to_owned();
            readers.push(Reader { kind, id, name });
        }
    }
    readers
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a01";

    fn parse(text: &str) -> (Vec<Reader>, String) {
        let mut problems = ConfigurationErrors::default();
        let readers = read(text, &mut problems);
        (readers, problems.to_string())
    }

    #[test]
    fn entries_have_a_kind_an_id_and_any_name() {
        let upper = ID.to_uppercase();
        let longest = "ž".repeat(128);
        let text = format!(
            "user:{ID}:deployer;group:{upper}:Data team: a@b.cz; Application:{ID}:notebooks;user:{ID}:{longest}"
        );
        let (readers, problems) = parse(&text);
        assert_eq!(problems, "");
        let reader = |kind, name: &str| Reader {
            kind,
            id: Uuid::try_parse(ID).unwrap(),
            name: name.to_owned(),
        };
        assert_eq!(
            readers,
            [
                reader(ReaderKind::User, "deployer"),
                reader(ReaderKind::Group, "Data team: a@b.cz"),
                reader(ReaderKind::Application, "notebooks"),
                reader(ReaderKind::User, &longest),
            ]
        );
    }

    #[test]
    fn every_problem_of_every_entry_is_reported_without_its_text() {
        for (text, expected) in [
            ("hush", vec!["(number 1) that is not KIND:ID:NAME"]),
            (
                &*format!("user:{ID}:a;"),
                vec!["(number 2) that is not KIND:ID:NAME"],
            ),
            (
                &*format!("user:{ID}:a;;user:{ID}:b"),
                vec!["(number 2) that is not KIND:ID:NAME"],
            ),
            (
                &*format!("hush:{ID}:a"),
                vec!["(number 1) that does not begin with its kind"],
            ),
            ("user:hush:a", vec!["whose ID is not a GUID"]),
            (
                &*format!("user:{}:a", ID.replace('-', "")),
                vec!["whose ID is not a GUID"],
            ),
            (&*format!("user:{{{ID}}}:a"), vec!["whose ID is not a GUID"]),
            (&*format!("user:{ID}:"), vec!["give 1 to 128 characters"]),
            (
                &*format!("user:{ID}:{}", "x".repeat(129)),
                vec!["give 1 to 128 characters"],
            ),
            (
                &*format!("user:{ID}:hush]"),
                vec!["give 1 to 128 characters other than [ and ]"],
            ),
            (
                &*format!("user:{ID}:Hush;group:{ID}:hush"),
                vec!["(number 2) whose name is that of an earlier entry"],
            ),
            (
                "hush:hush:[hush];hush",
                vec![
                    "(number 1) that does not begin",
                    "(number 1) whose ID",
                    "(number 1) whose name",
                    "(number 2) that is not KIND:ID:NAME",
                ],
            ),
        ] {
            let (_, problems) = parse(text);
            let lines: Vec<&str> = problems.lines().collect();
            assert_eq!(lines.len(), expected.len(), "{text}: {problems}");
            for (line, expected) in lines.iter().zip(expected) {
                assert!(line.starts_with("SQL_READERS has an entry (number "), "{line}");
                assert!(line.contains(expected), "{text}: {line}");
            }
            assert!(!problems.to_lowercase().contains("hush"), "{problems}");
        }
    }
}
