// A reader of JSON (RFC 8259), for the bundle's manifest.

#ifndef TAPEOUT_JSON_H_
#define TAPEOUT_JSON_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tapeout {

struct JsonError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A value. What is asked of one of another kind, or of a key that is missing, throws JsonError.
class Json {
 public:
  static Json Parse(const std::string& text);

  const std::string& String() const { return Of('"').text_; }
  int64_t Integer() const { return std::strtoll(Of('0').text_.c_str(), nullptr, 10); }
  const std::vector<Json>& Items() const { return Of('[').items_; }

  const std::map<std::string, Json>& Members() const { return Of('{').members_; }
  bool IsString() const { return kind_ == '"'; }

  const Json& operator[](const std::string& key) const {
    const auto found = Members().find(key);
    if (found == members_.end()) throw JsonError("there is no '" + key + "'");
    return found->second;
  }

 private:
  friend class JsonReader;

  const Json& Of(char kind) const {
    if (kind_ != kind) throw JsonError("a value is of another kind");
    return *this;
  }

  char kind_ = 'n';   // its first character; '0' for any number
  std::string text_;  // of a string, its content in UTF-8; else as it is written
  std::vector<Json> items_;
  std::map<std::string, Json> members_;
};

class JsonReader {
 public:
  explicit JsonReader(const std::string& text) : text_(text) {}

  Json ReadAll() {
    Json value = Read(0);
    if (Peek() != '\0' || at_ != text_.size()) Fail();
    return value;
  }

 private:
  static constexpr int kMaxDepth = 100;  // as deep as the stack surely goes

  [[noreturn]] void Fail() const { throw JsonError("no JSON at byte " + std::to_string(at_)); }

  // The next character that is no space; '\0' at the end.
  char Peek() {
    at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  void Expect(char wanted) {
    if (Peek() != wanted) Fail();
    ++at_;
  }

  // Whether a list goes on: past its comma, if so, and past its end, if not.
  bool Continues(char end) {
    if (Peek() == end) {
      ++at_;
      return false;
    }
    Expect(',');
    return true;
  }

  Json Read(int depth) {
    if (depth > kMaxDepth) Fail();
    Json value;
    value.kind_ = Peek();
    if (value.kind_ == '{') {
      ReadMembers(depth, value);
    } else if (value.kind_ == '[') {
      ReadItems(depth, value);
    } else if (value.kind_ == '"') {
      value.text_ = ReadString();
    } else {
      const size_t end = std::min(text_.find_first_of(" \t\r\n,]}", at_), text_.size());
      value.text_ = text_.substr(at_, end - at_);
      at_ = end;
      const std::string& word = value.text_;
      if (word == "true" || word == "false" || word == "null") return value;
      if (word.empty() || word.find_first_not_of("0123456789+-.eE") != std::string::npos) Fail();
      value.kind_ = '0';
    }
    return value;
  }

  void ReadMembers(int depth, Json& value) {
    ++at_;
    if (Peek() == '}') {
      ++at_;
      return;
    }
    do {
      if (Peek() != '"') Fail();
      std::string key = ReadString();
      Expect(':');
      value.members_[std::move(key)] = Read(depth + 1);
    } while (Continues('}'));
  }

  void ReadItems(int depth, Json& value) {
    ++at_;
    if (Peek() == ']') {
      ++at_;
      return;
    }
    do {
      value.items_.push_back(Read(depth + 1));
    } while (Continues(']'));
  }

  std::string ReadString() {
    std::string read;
    for (++at_; Next() != '"'; ++at_) {
      if (text_[at_] == '\\') {
        ReadEscape(read);
      } else {
        read += text_[at_];
      }
    }
    ++at_;
    return read;
  }

  char Next() const {
    if (at_ >= text_.size()) Fail();
    return text_[at_];
  }

  void ReadEscape(std::string& read) {
    static const std::string kLetters = "\"\\/bfnrt";
    ++at_;
    const size_t found = kLetters.find(Next());
    if (found != std::string::npos) {
      read += "\"\\/\b\f\n\r\t"[found];
      return;
    }
    uint32_t code = ReadUnit();
    if (code >> 10 == 0x36) {  // the first of a surrogate pair
      if (text_.compare(at_ + 1, 2, "\\u") != 0) Fail();
      at_ += 2;
      code = 0x10000 + ((code & 0x3ff) << 10) + (ReadUnit() & 0x3ff);
    }
    AppendUtf8(code, read);
  }

  // The number of "uXXXX"; the last of it is the current character then.
  uint32_t ReadUnit() {
    const std::string digits = at_ + 5 <= text_.size() ? text_.substr(at_ + 1, 4) : "";
    if (Next() != 'u' || digits.empty() ||
        digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
      Fail();
    }
    at_ += 4;
    return static_cast<uint32_t>(std::strtoul(digits.c_str(), nullptr, 16));
  }

  static void AppendUtf8(uint32_t code, std::string& read) {
    const auto tail = [&](int shift) { read += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
    if (code < 0x80) {
      read += static_cast<char>(code);
    } else if (code < 0x800) {
      read += static_cast<char>(0xc0 | code >> 6);
      tail(0);
    } else if (code < 0x10000) {
      read += static_cast<char>(0xe0 | code >> 12);
      tail(6), tail(0);
    } else {
      read += static_cast<char>(0xf0 | code >> 18);
      tail(12), tail(6), tail(0);
    }
  }

  const std::string& text_;
  size_t at_ = 0;
};

inline Json Json::Parse(const std::string& text) { return JsonReader(text).ReadAll(); }

}  // namespace tapeout

#endif  // TAPEOUT_JSON_H_
