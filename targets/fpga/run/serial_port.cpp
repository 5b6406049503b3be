// A serial port with a simulated FPGA behind it: bytes on standard input go to the design over its
// UART or SPI pins, bit by bit, and what the design sends comes out on standard output.
//
//     system uart DIVIDER PATIENCE
//     system spi PERIOD PATIENCE
//
// DIVIDER: clocks of one bit; PERIOD: of one period of sck, even. Time stands still while the design
// has nothing to do and no byte has come. With exit code 3 it gave up: the design was busy for more
// than PATIENCE clocks and sent nothing.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>

#include "Vsystem.h"
#include "verilated.h"

namespace {

constexpr int kReset = 8;           // clocks
constexpr int kSettle = 64;         // clocks after the last byte, until the design has seen it
constexpr uint8_t kNothing = 0xC0;  // what a side of SPI sends that has nothing to say

// The other end of the pins, which looks at them once a clock.
class Line {
 public:
  virtual ~Line() = default;
  // Look at the design's pins and drive its inputs. Returns whether a byte moves at this moment.
  virtual bool step(Vsystem& top) = 0;

  std::deque<uint8_t> to_send{};
  std::string received{};
};

class Uart : public Line {
 public:
  explicit Uart(int divider) : divider_(divider) {}

  bool step(Vsystem& top) override {
    send(top);
    receive(top);
    return sending_ || receiving_;
  }

 private:
  void send(Vsystem& top) {
    if (!sending_ && !to_send.empty()) {
      frame_ = 0x200 | to_send.front() << 1;  // stop bit, data, start bit
      to_send.pop_front();
      sending_ = 10 * divider_;
    }
    top.rxd = sending_ ? frame_ >> (10 - (sending_ + divider_ - 1) / divider_) & 1 : 1;
    if (sending_) --sending_;
  }

  // Sample every bit in its middle.
  void receive(Vsystem& top) {
    if (!receiving_) {
      if (top.txd) return;
      receiving_ = 10 * divider_;
      data_ = 0;
    }
    const int elapsed = 10 * divider_ - receiving_;
    if (elapsed % divider_ == divider_ / 2) data_ |= unsigned(top.txd) << elapsed / divider_;
    if (--receiving_ != divider_ - divider_ / 2 - 1) return;
    receiving_ = 0;
    if (data_ & 0x200) received.push_back(char(data_ >> 1 & 0xff));
  }

  int divider_;
  int sending_ = 0, receiving_ = 0;  // clocks left
  unsigned frame_ = 0, data_ = 0;
};

// A master that keeps asking as long as the design is busy.
class Spi : public Line {
 public:
  explicit Spi(int period) : half_(period / 2) {}

  bool step(Vsystem& top) override {
    if (wait_) {
      --wait_;
      return true;
    }
    if (top.cs_n && to_send.empty()) return false;
    wait_ = half_ - 1;
    if (top.cs_n) {
      top.cs_n = 0;
      next(top);
      return true;
    }
    if (!top.sck) {
      if (bits_ == 0) {
        if (to_send.empty() && !top.busy) {
          top.cs_n = 1;
          wait_ = 2 * half_;
          return true;
        }
        next(top);
      }
      in_ = in_ << 1 | top.miso;
      top.sck = 1;
    } else {
      top.sck = 0;
      if (--bits_ == 0) {
        take(in_ & 0xff);
      } else {
        out_ <<= 1;
        top.mosi = out_ >> 7 & 1;
      }
    }
    return true;
  }

 private:
  void next(Vsystem& top) {
    out_ = to_send.empty() ? kNothing : to_send.front();
    if (!to_send.empty()) to_send.pop_front();
    bits_ = 8;
    top.mosi = out_ >> 7 & 1;
  }

  void take(uint8_t byte) {
    if (byte != kNothing || last_ != kNothing) received.push_back(char(byte));
    last_ = byte;
  }

  int half_;
  uint8_t last_ = kNothing;
  int wait_ = 0, bits_ = 0;
  unsigned out_ = 0, in_ = 0;
};

void tick(Vsystem& top) {
  top.clk = 1;
  top.eval();
  top.clk = 0;
  top.eval();
}

// Wait for bytes; returns false at the end of the input.
bool fetch(Line& line) {
  uint8_t buffer[1 << 16];
  const ssize_t count = read(STDIN_FILENO, buffer, sizeof buffer);
  if (count <= 0) return false;
  line.to_send.insert(line.to_send.end(), buffer, buffer + count);
  return true;
}

void flush(Line& line) {
  std::fwrite(line.received.data(), 1, line.received.size(), stdout);
  std::fflush(stdout);
  line.received.clear();
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  const int clocks = std::atoi(arguments[2]);
  const int64_t patience = std::atoll(arguments[3]);
  std::unique_ptr<Line> line;
  if (std::strcmp(arguments[1], "spi") == 0)
    line = std::make_unique<Spi>(clocks);
  else
    line = std::make_unique<Uart>(clocks);

  VerilatedContext context;
  context.randReset(2);
  Vsystem top{&context};
  top.rxd = top.cs_n = top.rst = 1;
  top.clk = top.sck = top.mosi = 0;
  for (int clock = 0; clock < kReset; ++clock) tick(top);
  top.rst = 0;

  int64_t waited = 0;
  size_t seen = 0;  // bytes that wait to be flushed
  int idle = 0;
  for (;;) {
    const bool moves = line->step(top);
    const bool sends = !line->to_send.empty();
    idle = moves || sends || top.busy ? 0 : idle + 1;
    if (idle > kSettle) {
      flush(*line);
      seen = 0;
      if (!fetch(*line)) return 0;
    }
    waited = sends || line->received.size() != seen ? 0 : waited + 1;
    seen = line->received.size();
    if (waited > patience) return 3;
    tick(top);
  }
}
