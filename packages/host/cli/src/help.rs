//! Help, from the table of verbs.

use std::fmt::Write as _;
use std::io::Write;

use crate::exit;
use crate::failure::Failure;
use crate::verbs::{self, BEFORE, Flag, GLOBAL, Group, Verb};

/// Where options' texts begin.
const COLUMN: usize = 28;

/// Prints help of a verb, or of all.
pub(crate) fn print(verb: Option<&Verb>, sink: &mut dyn Write) -> Result<(), Failure> {
    let text = verb.map_or_else(all, of);
    Ok(sink.write_all(text.as_bytes())?)
}

/// `lepton help ...`.
pub(crate) fn ask(words: &[String], sink: &mut dyn Write) -> Result<(), Failure> {
    let name = words.join(" ");
    match (name.as_str(), verbs::find(&name)) {
        ("", _) => print(None, sink),
        ("exit-codes", _) => Ok(writeln!(sink, "{}", exit::TEXT)?),
        (_, Some(verb)) => print(Some(verb), sink),
        (_, None) if !verbs::family(&name).is_empty() => {
            let mut text = String::new();
            verbs::family(&name).into_iter().for_each(|verb| line(&mut text, verb.name, verb.summary));
            Ok(sink.write_all(text.as_bytes())?)
        }
        (_, None) => Err(Failure::Usage(format!("there is no verb {name:?}"))),
    }
}

fn all() -> String {
    let mut text = "usage: lepton [-n HOST,...] [OPTION...] VERB\n".to_owned();
    for (group, title) in [
        (Group::Look, "look at hosts"),
        (Group::Change, "change hosts"),
        (Group::Here, "keys, contexts and this program"),
        (Group::OnHost, "on the host itself"),
    ] {
        let _ = write!(text, "\n{title}:\n");
        verbs::all()
            .filter(|verb| verb.group == group)
            .for_each(|verb| line(&mut text, verb.name, verb.summary));
    }
    text.push_str("\noptions before the verb:\n");
    BEFORE.iter().for_each(|flag| option(&mut text, flag));
    text.push_str("\noptions before or after it:\n");
    GLOBAL.iter().for_each(|flag| option(&mut text, flag));
    text.push_str(
        "\nWithout -n the hosts of the context are meant, and without a context the host that this runs on.\n\
         lepton VERB --help says how a verb is used, lepton help exit-codes what exit codes mean.\n",
    );
    text
}

fn of(verb: &Verb) -> String {
    let mut text = format!("usage: lepton {} {}", verb.name, verb.usage).trim_end().to_owned();
    let _ = write!(text, "\n\n{}", verb.summary);
    if let Some(role) = verb.role() {
        let _ = write!(text, "\nrole: {role}");
    }
    if !verb.aliases.is_empty() {
        let _ = write!(text, "\nalso: {}", verb.aliases.join(", "));
    }
    text.push('\n');
    if !verb.text.is_empty() {
        let _ = write!(text, "\n{}\n", verb.text);
    }
    if !verb.flags.is_empty() {
        text.push_str("\noptions:\n");
        verb.flags.iter().for_each(|flag| option(&mut text, flag));
    }
    if !verb.examples.is_empty() {
        text.push_str("\nexamples:\n");
        verb.examples.iter().for_each(|example| text.push_str(&format!("  {example}\n")));
    }
    text
}

fn option(text: &mut String, flag: &Flag) {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
    line(text, &format!("{short}--{}{value}", flag.long), flag.text);
}

fn line(text: &mut String, name: &str, says: &str) {
    match name.len() < COLUMN - 2 {
        true => drop(writeln!(text, "  {name:<width$}{says}", width = COLUMN - 2)),
        false => drop(writeln!(text, "  {name}\n{:COLUMN$}{says}", "")),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn of_a_verb() {
        expect![[r#"
            usage: lepton config apply [--try TIME] [--expect REVISION] FILE

            put a machine config in place of the one applied before
            role: admin

            FILE is a machine config in TOML, or - for the standard input. The host keeps it on its state
            partition. With --try it goes back to the one before after TIME, and when it restarts, unless
            lepton config confirm is called in between: so a mistake in [network] locks nobody out.
            Exit code 4 when somebody has changed the config meanwhile, or one is on trial.

            options:
                  --try TIME            on trial for so long: 1s to 1h
                  --expect REVISION     only if this is the revision of the config in effect, as config get shows it

            examples:
              lepton -n edge-1 config apply --try 60s edge-1.toml && lepton -n edge-1 config confirm
        "#]].assert_eq(&of(verbs::find("config apply").unwrap()));
    }

    #[test]
    fn of_all_and_of_families() {
        let said = |words: &[&str]| {
            let mut sink = Vec::new();
            ask(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>(), &mut sink)
                .map(|()| String::from_utf8(sink).unwrap())
        };
        let all = said(&[]).unwrap();
        for verb in verbs::all() {
            assert!(all.contains(&format!("  {} ", verb.name)), "{}", verb.name);
        }
        assert!(said(&["config"]).unwrap().lines().count() == 5);
        assert!(said(&["exit-codes"]).unwrap().contains("4  conflict"));
        assert!(said(&["status"]).unwrap().contains("role: reader"));
        assert!(said(&["halt"]).is_err());
    }
}
