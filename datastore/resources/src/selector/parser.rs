//! Text to expression, by recursive descent.

use std::collections::BTreeSet;

use super::{Expression, SelectorError, SelectorProblem};

/// How deep brackets and negations may be nested.
pub(super) const DEPTH: usize = 100;
const LABEL_LENGTH: usize = 512;

pub(super) fn parse(text: &str) -> Result<Expression, SelectorError> {
    let mut parser = Parser { text, position: 0, depth: 0 };
    parser.skip_blanks();
    if parser.rest().is_empty() {
        return Ok(Expression::All);
    }
    let expression = parser.or()?;
    if parser.rest().is_empty() { Ok(expression) } else { Err(parser.error(SelectorProblem::ExpectedEnd)) }
}

struct Parser<'t> {
    text: &'t str,
    position: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn error(&self, problem: SelectorProblem) -> SelectorError {
        SelectorError { text: self.text.to_owned(), position: self.position, problem }
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// Takes `token` and the blanks after it.
    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.position += token.len();
            self.skip_blanks();
        }
        found
    }

    /// Takes `word` and the blanks after it, if no letter, digit or `_` follows directly.
    fn take_word(&mut self, word: &str) -> bool {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        self.rest().strip_prefix(word).is_some_and(ends) && self.take(word)
    }

    fn or(&mut self) -> Result<Expression, SelectorError> {
        let mut parts = vec![self.and()?];
        while self.take("||") {
            parts.push(self.and()?);
        }
        Ok(only(parts, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, SelectorError> {
        let mut parts = vec![self.unary()?];
        while self.take("&&") {
            parts.push(self.unary()?);
        }
        Ok(only(parts, Expression::And))
    }

    fn unary(&mut self) -> Result<Expression, SelectorError> {
        if self.depth == DEPTH {
            return Err(self.error(SelectorProblem::TooDeep));
        }
        self.depth += 1;
        let expression = if self.take("!") {
            Expression::Not(Box::new(self.unary()?))
        } else if self.take("(") {
            let inner = self.or()?;
            self.close()?;
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn close(&mut self) -> Result<(), SelectorError> {
        if self.take(")") { Ok(()) } else { Err(self.error(SelectorProblem::ExpectedClose)) }
    }

    fn test(&mut self) -> Result<Expression, SelectorError> {
        if self.take("all(") {
            return self.close().map(|()| Expression::All);
        }
        if self.take("global(") {
            return self.close().map(|()| Expression::Global);
        }
        if self.take("has(") {
            let label = self.label(SelectorProblem::ExpectedLabel)?;
            return self.close().map(|()| Expression::Has(label));
        }
        let label = self.label(SelectorProblem::ExpectedTest)?;
        self.comparison(label)
    }

    fn comparison(&mut self, label: String) -> Result<Expression, SelectorError> {
        if self.take("==") {
            return Ok(Expression::Equal(label, self.text()?));
        }
        if self.take("!=") {
            return Ok(Expression::NotEqual(label, self.text()?));
        }
        let operator = self.position;
        if self.take_word("contains") {
            return Ok(Expression::Contains(label, self.text()?));
        }
        if self.take_word("in") {
            return Ok(Expression::In(label, self.set()?));
        }
        if self.take("not") && self.take_word("in") {
            return Ok(Expression::NotIn(label, self.set()?));
        }
        if self.take("starts") && self.take_word("with") {
            return Ok(Expression::StartsWith(label, self.text()?));
        }
        if self.take("ends") && self.take_word("with") {
            return Ok(Expression::EndsWith(label, self.text()?));
        }
        self.position = operator;
        Err(self.error(SelectorProblem::ExpectedOperator))
    }

    fn label(&mut self, missing: SelectorProblem) -> Result<String, SelectorError> {
        let rest = self.rest();
        let of_label = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        let length = rest.find(|c| !of_label(c)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.error(missing));
        }
        if length > LABEL_LENGTH {
            return Err(self.error(SelectorProblem::LongLabel));
        }
        let label = rest.get(..length).unwrap_or_default().to_owned();
        self.position += length;
        self.skip_blanks();
        Ok(label)
    }

    fn text(&mut self) -> Result<String, SelectorError> {
        let rest = self.rest();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let Some(quote) = quote else { return Err(self.error(SelectorProblem::ExpectedText)) };
        let inner = rest.strip_prefix(quote).unwrap_or_default();
        let Some(end) = inner.find(quote) else { return Err(self.error(SelectorProblem::UnclosedText)) };
        self.position += end + 2;
        self.skip_blanks();
        Ok(inner.get(..end).unwrap_or_default().to_owned())
    }

    fn set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if !self.take("{") {
            return Err(self.error(SelectorProblem::ExpectedSet));
        }
        let mut set = BTreeSet::new();
        while !self.take("}") {
            set.insert(self.text()?);
            if !self.take(",") && !self.rest().starts_with('}') {
                return Err(self.error(SelectorProblem::ExpectedSetEnd));
            }
        }
        Ok(set)
    }
}

/// The one part, or all of them under `combine`.
fn only(mut parts: Vec<Expression>, combine: fn(Vec<Expression>) -> Expression) -> Expression {
    match (parts.pop(), parts.is_empty()) {
        (Some(part), true) => part,
        (Some(part), false) => {
            parts.push(part);
            combine(parts)
        }
        (None, _) => Expression::All,
    }
}
