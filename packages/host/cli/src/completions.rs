//! Completions for shells, from the table of verbs.

use std::fmt::Write as _;
use std::io::Write;

use crate::failure::Failure;
use crate::verbs::{self, Action, BEFORE, Flag, GLOBAL, Verb};

/// Prints the completions of a shell.
pub(crate) fn print(shell: &str, sink: &mut dyn Write) -> Result<(), Failure> {
    let text = match shell {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        other => {
            return Err(Failure::Usage(format!(
                "no completions for {other:?}; there are bash, zsh and fish"
            )));
        }
    };
    Ok(sink.write_all(text.as_bytes())?)
}

/// The first words of verbs, each once.
fn firsts() -> Vec<&'static str> {
    let mut firsts: Vec<&str> = verbs::all()
        .flat_map(|verb| verb.name.split(' ').take(1).chain(verb.aliases.iter().copied()))
        .collect();
    firsts.dedup();
    firsts
}

fn seconds(first: &str) -> Vec<&'static str> {
    verbs::family(first).iter().filter_map(|verb| verb.name.split(' ').nth(1)).collect()
}

/// What may follow a verb.
fn words(verb: &Verb) -> Vec<String> {
    let mut words: Vec<String> = verb.flags.iter().chain(&GLOBAL).flat_map(spelled).collect();
    words.extend(values(verb.action).iter().map(|&word| word.to_owned()));
    words
}

/// Words of a verb that are known beforehand.
fn values(action: Action) -> &'static [&'static str] {
    match action {
        Action::Completions => &["bash", "zsh", "fish"],
        Action::Help => &["exit-codes"],
        _ => &[],
    }
}

/// Values of an option that are known beforehand.
fn choices(flag: &Flag) -> &'static [&'static str] {
    match flag.long {
        "output" => &["table", "json"],
        "role" => &["reader", "operator", "admin"],
        _ => &[],
    }
}

fn spelled(flag: &Flag) -> Vec<String> {
    flag.short.map(|short| format!("-{short}")).into_iter().chain([format!("--{}", flag.long)]).collect()
}

/// Options that take a value, as a pattern of bash and zsh: `-o|--output`.
fn with_values() -> String {
    let mut all: Vec<String> = Vec::new();
    for flag in verbs::all()
        .flat_map(|verb| verb.flags)
        .chain(&GLOBAL)
        .chain(&BEFORE)
        .filter(|flag| flag.value.is_some())
    {
        all.extend(spelled(flag).into_iter().filter(|one| !all.contains(one)).collect::<Vec<_>>());
    }
    all.join("|")
}

/// The verb so far, and the words that may follow: the same for bash and zsh but for the dialect around it.
fn cases() -> String {
    let mut text = String::new();
    let before: Vec<String> = BEFORE.iter().chain(&GLOBAL).flat_map(spelled).collect();
    let _ = writeln!(text, "    \"\") words=\"{} {}\" ;;", firsts().join(" "), before.join(" "));
    for first in firsts().into_iter().filter(|first| !seconds(first).is_empty()) {
        let _ = writeln!(text, "    \"{first}\") words=\"{}\" ;;", seconds(first).join(" "));
    }
    for verb in verbs::all() {
        let names: Vec<String> =
            verb.aliases.iter().chain([&verb.name]).map(|name| format!("\"{name}\"")).collect();
        let _ = writeln!(text, "    {}) words=\"{}\" ;;", names.join("|"), words(verb).join(" "));
    }
    text
}

fn families() -> String {
    firsts().into_iter().filter(|first| !seconds(first).is_empty()).collect::<Vec<_>>().join("|")
}

fn bash() -> String {
    format!(
        "\
# bash completions of lepton: source <(lepton completions bash)
_lepton() {{
  local current=\"${{COMP_WORDS[COMP_CWORD]}}\" previous=\"${{COMP_WORDS[COMP_CWORD-1]}}\" verb=\"\" word skip=\"\" words=\"\"
  local i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\"${{COMP_WORDS[i]}}\"
    if [[ -n $skip ]]; then skip=\"\"; continue; fi
    case \"$word\" in
      {values}) skip=1 ;;
      -*) ;;
      *) case \"$verb\" in \"\") verb=\"$word\" ;; {families}) verb=\"$verb $word\" ;; esac ;;
    esac
  done
  case \"$previous\" in
    -o|--output) words=\"table json\" ;;
    --role) words=\"reader operator admin\" ;;
    {values}) COMPREPLY=($(compgen -f -- \"$current\")); return ;;
    *) case \"$verb\" in
{cases}    esac ;;
  esac
  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))
  [[ -z $words || ${{#COMPREPLY[@]}} -gt 0 ]] || COMPREPLY=($(compgen -f -- \"$current\"))
}}
complete -F _lepton lepton
",
        values = with_values(),
        families = families(),
        cases = cases(),
    )
}

fn zsh() -> String {
    format!(
        "\
#compdef lepton
# zsh completions of lepton: lepton completions zsh > \"${{fpath[1]}}/_lepton\"
_lepton() {{
  local verb=\"\" word skip=\"\" words_here=\"\" previous=\"${{words[CURRENT-1]}}\"
  local i
  for ((i = 2; i < CURRENT; i++)); do
    word=\"${{words[i]}}\"
    if [[ -n $skip ]]; then skip=\"\"; continue; fi
    case \"$word\" in
      {values}) skip=1 ;;
      -*) ;;
      *) case \"$verb\" in \"\") verb=\"$word\" ;; {families}) verb=\"$verb $word\" ;; esac ;;
    esac
  done
  case \"$previous\" in
    -o|--output) words_here=\"table json\" ;;
    --role) words_here=\"reader operator admin\" ;;
    {values}) _files; return ;;
    *) case \"$verb\" in
{cases}    esac ;;
  esac
  compadd -- ${{=words_here}} || _files
}}
if [[ $funcstack[1] == _lepton ]]; then _lepton \"$@\"; else compdef _lepton lepton; fi
",
        values = with_values(),
        families = families(),
        cases = cases().replace("words=\"", "words_here=\""),
    )
}

fn fish() -> String {
    let mut text =
        "# fish completions of lepton: lepton completions fish > ~/.config/fish/completions/lepton.fish\n"
            .to_owned();
    let all_firsts = firsts().join(" ");
    let _ = writeln!(text, "set -l verbs {all_firsts}");
    for flag in BEFORE.iter().chain(&GLOBAL) {
        let _ = writeln!(text, "complete -c lepton {}", fish_option(flag));
    }
    for verb in verbs::all() {
        let mut parts = verb.name.split(' ');
        let first = parts.next().unwrap_or_default();
        let second = parts.next();
        // The first word of a family is offered once, with the others of its first verb.
        let is_first =
            second.is_none() || verbs::family(first).first().is_some_and(|other| other.name == verb.name);
        if is_first {
            let says = if second.is_some() { seconds(first).join(", ") } else { verb.summary.to_owned() };
            for name in std::iter::once(&first).chain(verb.aliases) {
                let _ = writeln!(
                    text,
                    "complete -c lepton -n \"not __fish_seen_subcommand_from $verbs\" -a {name} -d '{says}'"
                );
            }
        }
        let seen = match second {
            Some(second) => {
                let others = seconds(first).join(" ");
                let _ = writeln!(
                    text,
                    "complete -c lepton -f -n \"__fish_seen_subcommand_from {first}; and not __fish_seen_subcommand_from {others}\" -a {second} -d '{}'",
                    verb.summary
                );
                format!("__fish_seen_subcommand_from {first}; and __fish_seen_subcommand_from {second}")
            }
            None => format!(
                "__fish_seen_subcommand_from {}",
                std::iter::once(&first).chain(verb.aliases).copied().collect::<Vec<_>>().join(" ")
            ),
        };
        for word in values(verb.action) {
            let _ = writeln!(text, "complete -c lepton -f -n \"{seen}\" -a {word}");
        }
        for flag in verb.flags {
            let _ = writeln!(text, "complete -c lepton -n \"{seen}\" {}", fish_option(flag));
        }
    }
    text
}

fn fish_option(flag: &Flag) -> String {
    let short = flag.short.map(|short| format!("-s {short} ")).unwrap_or_default();
    let value = match (flag.value, choices(flag)) {
        (None, _) => String::new(),
        (Some(_), []) => " -r".to_owned(),
        (Some(_), words) => format!(" -x -a '{}'", words.join(" ")),
    };
    format!("{short}-l {}{value} -d '{}'", flag.long, flag.text.replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_option_is_there() {
        for (shell, text) in [("bash", bash()), ("zsh", zsh()), ("fish", fish())] {
            for verb in verbs::all() {
                assert!(
                    verb.name.split(' ').chain(verb.aliases.iter().copied()).all(|word| text.contains(word)),
                    "{shell}: {}",
                    verb.name
                );
                for flag in verb.flags {
                    let spelled = if shell == "fish" {
                        format!("-l {}", flag.long)
                    } else {
                        format!("--{}", flag.long)
                    };
                    assert!(text.contains(&spelled), "{shell}: {} {}", verb.name, flag.long);
                }
            }
        }
        assert!(print("tcsh", &mut Vec::new()).is_err());
    }

    #[test]
    fn texts_stay_within_quotes() {
        for verb in verbs::all() {
            let texts = verb.flags.iter().map(|flag| flag.text).chain([verb.summary]);
            assert!(texts.into_iter().all(|text| !text.contains(['\'', '"', '`', '$'])), "{}", verb.name);
        }
    }
}
