//! A writer of indented XML 1.0 that cannot leave an element open or a character unescaped.
//!
//! It knows no namespaces and checks no names: those are constants of its callers.

/// A document being written.
#[derive(Debug)]
pub(crate) struct Xml {
    text: String,
    depth: usize,
}

/// Attributes of an element, in order.
pub(crate) type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Xml {
    /// A document of one root element, as text.
    pub(crate) fn document(
        root: &str,
        attributes: Attributes<'_>,
        content: impl FnOnce(&mut Self),
    ) -> String {
        let mut xml = Self { text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"), depth: 0 };
        xml.element(root, attributes, content);
        xml.text
    }

    /// An element that holds elements.
    pub(crate) fn element(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        content: impl FnOnce(&mut Self),
    ) {
        self.start(name, attributes);
        self.text.push_str(">\n");
        self.depth += 1;
        content(self);
        self.depth -= 1;
        self.indent();
        self.end(name);
    }

    /// An element that holds text.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.start(name, &[]);
        self.text.push('>');
        self.escape(text);
        self.end(name);
    }

    /// An element that holds nothing.
    pub(crate) fn empty(&mut self, name: &str, attributes: Attributes<'_>) {
        self.start(name, attributes);
        self.text.push_str("/>\n");
    }

    fn indent(&mut self) {
        self.text.extend(std::iter::repeat_n("  ", self.depth));
    }

    fn start(&mut self, name: &str, attributes: Attributes<'_>) {
        self.indent();
        self.text.push('<');
        self.text.push_str(name);
        for (attribute, value) in attributes {
            self.text.push(' ');
            self.text.push_str(attribute);
            self.text.push_str("=\"");
            self.escape(value);
            self.text.push('"');
        }
    }

    fn end(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push_str(">\n");
    }

    fn escape(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                // Readers turn bare white space of attributes into spaces.
                '\t' => self.text.push_str("&#9;"),
                '\n' => self.text.push_str("&#10;"),
                '\r' => self.text.push_str("&#13;"),
                // XML 1.0 has no way to write these.
                '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => self.text.push('\u{fffd}'),
                _ => self.text.push(character),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn indents_and_escapes() {
        let text = Xml::document("a", &[("xmlns", "urn:x"), ("note", "1 < \"2\"\n\u{1}")], |xml| {
            xml.element("b", &[], |xml| xml.text("c", "x & y > z"));
            xml.empty("d", &[("e", "é")]);
        });
        expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <a xmlns="urn:x" note="1 &lt; &quot;2&quot;&#10;�">
              <b>
                <c>x &amp; y &gt; z</c>
              </b>
              <d e="é"/>
            </a>
        "#]]
        .assert_eq(&text);
    }
}
