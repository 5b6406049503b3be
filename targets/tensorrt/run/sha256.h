// SHA-256, as FIPS 180-4 defines it.

#ifndef TAPEOUT_SHA256_H_
#define TAPEOUT_SHA256_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace tapeout {

class Sha256 {
 public:
  // The digest of bytes, as 64 hexadecimal digits.
  static std::string Of(const std::string& bytes) {
    Sha256 state;
    const size_t whole = bytes.size() / kBlock * kBlock;
    for (size_t at = 0; at < whole; at += kBlock) state.Add(&bytes[at]);
    // A one, zeros, and the number of bits in 8 bytes end the last block.
    std::string rest = bytes.substr(whole) + '\x80';
    while (rest.size() % kBlock != kBlock - 8) rest += '\0';
    for (int shift = 56; shift >= 0; shift -= 8) {
      rest += static_cast<char>(uint64_t{bytes.size()} * 8 >> shift);
    }
    for (size_t at = 0; at < rest.size(); at += kBlock) state.Add(&rest[at]);
    std::string digits;
    for (const uint32_t word : state.hash_) {
      for (int shift = 28; shift >= 0; shift -= 4) {
        digits += "0123456789abcdef"[word >> shift & 15];
      }
    }
    return digits;
  }

 private:
  static constexpr size_t kBlock = 64;

  // The first 32 bits of the fractions of the cube roots of the first 64 primes.
  static constexpr std::array<uint32_t, 64> kRound = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
      0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
      0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
      0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
      0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
      0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
      0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
      0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
      0xc67178f2};

  static uint32_t Rotate(uint32_t word, int by) { return word >> by | word << (32 - by); }

  void Add(const char* block) {
    std::array<uint32_t, 64> w;
    for (size_t i = 0; i < 16; ++i) {
      w[i] = 0;
      for (size_t j = 0; j < 4; ++j) w[i] = w[i] << 8 | static_cast<uint8_t>(block[4 * i + j]);
    }
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (Rotate(a, 7) ^ Rotate(a, 18) ^ a >> 3) + w[i - 7] +
             (Rotate(b, 17) ^ Rotate(b, 19) ^ b >> 10);
    }
    auto [a, b, c, d, e, f, g, h] = hash_;
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t one = h + (Rotate(e, 6) ^ Rotate(e, 11) ^ Rotate(e, 25)) +
                           ((e & f) ^ (~e & g)) + kRound[i] + w[i];
      const uint32_t two =
          (Rotate(a, 2) ^ Rotate(a, 13) ^ Rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
    }
    const std::array<uint32_t, 8> step = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < step.size(); ++i) hash_[i] += step[i];
  }

  // The first 32 bits of the fractions of the square roots of the first 8 primes.
  std::array<uint32_t, 8> hash_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
};

}  // namespace tapeout

#endif  // TAPEOUT_SHA256_H_
