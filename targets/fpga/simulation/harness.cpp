// Drives a model's streams from files, and writes what comes out, and when: see verilator.py.
//
//     simulation FOLDER SEED PATIENCE COUNT...
//
// One count of beats per port. Reads FOLDER/I.in, writes FOLDER/I.out and FOLDER/I.cycles for port
// I; prints "stuck GROUP" and "broken WHAT". Exit code 3: a group is stuck; 4: a rule was broken.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

struct Port {
  const char* name;
  bool is_input;
  int group;
  bool is_registered;
  size_t bytes;
  unsigned char* valid;
  unsigned char* ready;
  unsigned char* data;
};

#include "ports.h"

constexpr int kReset = 4;       // cycles
constexpr int kDrain = 64;      // cycles after the last beat, to see whether there are more
constexpr int kCut = 4096;      // cycles at most of the piece before a run that stalls

// splitmix64
struct Random {
  uint64_t state;
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
};

// Stalls at a rate that changes now and then: bursts, trickles and everything between.
class Staller {
 public:
  Staller(uint64_t seed, uint64_t port) : random_{seed * 1000003 + port}, stalls_(seed != 0) {}
  bool stalled() {
    if (!stalls_) return false;
    const uint64_t drawn = random_.next();
    if ((drawn & 63) == 0) rate_ = drawn >> 8 & 15;
    return (drawn >> 16 & 15) < rate_;
  }

 private:
  Random random_;
  bool stalls_;
  uint64_t rate_ = 4;
};

// The other side of one of the model's streams.
struct End {
  Port port;
  size_t count;  // beats to give or to wait for
  Staller staller;
  std::vector<unsigned char> given{}, taken{};
  std::vector<int64_t> cycles{};
  // What the model showed after the last edge: ready of a source, or valid and data of a sink.
  unsigned char flag = 0;
  std::vector<unsigned char> data{};
  bool moves = false;  // in this cycle
  bool waits = false;  // valid but not taken in this cycle

  size_t beats() const { return cycles.size(); }
  bool is_done() const { return beats() >= count; }
  unsigned char shown() const { return port.is_input ? *port.ready : *port.valid; }
  bool has_other_data() const { return std::memcmp(data.data(), port.data, port.bytes) != 0; }
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

std::vector<unsigned char> read(const std::string& path, size_t size) {
  std::vector<unsigned char> bytes(size);
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file || std::fread(bytes.data(), 1, size, file) != size) fail(path + " cannot be read");
  std::fclose(file);
  return bytes;
}

void write(const std::string& path, const void* data, size_t size) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file || std::fwrite(data, 1, size, file) != size) fail(path + " cannot be written");
  std::fclose(file);
}

class Bench {
 public:
  Bench(Vtop& top, std::vector<End> ends, int64_t patience)
      : top_(top), ends_(std::move(ends)), patience_(patience) {
    for (const End& end : ends_) groups_ = std::max(groups_, size_t(end.port.group) + 1);
    restart();
  }

  // Run until every group is done or stuck, and watch a while longer; at most `limit` cycles.
  void run(int64_t limit) {
    int64_t until = limit;
    for (cycle_ = 0; cycle_ < until; ++cycle_) {
      step();
      if (until == limit && has_ended()) until = std::min(limit, cycle_ + kDrain);
    }
  }

  void restart() {
    moved_.assign(groups_, 0);
    top_.rst = 1;
    for (int cycle = 0; cycle < kReset + kLead; ++cycle) {
      for (End& end : ends_) {
        end.taken.clear();
        end.cycles.clear();
        end.moves = end.waits = false;
        *(end.port.is_input ? end.port.valid : end.port.ready) = 0;
      }
      top_.eval();
      edge();
      if (cycle == kReset - 1) top_.rst = 0;
    }
  }

  std::vector<bool> unfinished() const {
    std::vector<bool> found(groups_, false);
    for (const End& end : ends_)
      if (!end.is_done()) found[size_t(end.port.group)] = true;
    return found;
  }

  const std::vector<End>& ends() const { return ends_; }
  bool is_broken() const { return !found_.empty(); }

 private:
  void step() {
    for (End& end : ends_) drive(end);
    top_.eval();
    for (End& end : ends_) move(end);
    edge();
  }

  // Set what the other side drives: a source that offers a beat keeps to it.
  void drive(End& end) {
    const bool stalled = end.staller.stalled();
    if (!end.port.is_input) {
      *end.port.ready = !stalled;
    } else if (!*end.port.valid && !stalled && !end.is_done()) {
      *end.port.valid = 1;
      std::memcpy(end.port.data, &end.given[end.beats() * end.port.bytes], end.port.bytes);
    }
  }

  // Record a transfer. What the model shows must be what it showed before the other side drove.
  void move(End& end) {
    if (end.port.is_registered && end.shown() != end.flag)
      find(end, std::string(end.port.is_input ? "ready" : "valid") + " follows the other side");
    if (end.port.is_registered && !end.port.is_input && *end.port.valid && end.has_other_data())
      find(end, "data follow the other side");
    end.moves = *end.port.valid && *end.port.ready;
    end.waits = !end.port.is_input && *end.port.valid && !*end.port.ready;
    if (!end.port.is_input) end.data.assign(end.port.data, end.port.data + end.port.bytes);
    if (!end.moves) return;
    if (end.is_done()) return find(end, "one beat too many");
    if (!end.port.is_input)
      end.taken.insert(end.taken.end(), end.data.begin(), end.data.end());
    end.cycles.push_back(cycle_);
    moved_[size_t(end.port.group)] = cycle_;
  }

  // A rising edge; what has been valid and not taken has to stay.
  void edge() {
    top_.clk = 1;
    top_.eval();
    top_.clk = 0;
    for (End& end : ends_) {
      if (end.port.is_input && end.moves) *end.port.valid = 0;
      end.flag = end.shown();
      if (end.port.is_input) continue;
      if (end.waits && !end.flag)
        find(end, "valid went away before it was taken");
      else if (end.waits && end.has_other_data())
        find(end, "data changed before they were taken");
      end.data.assign(end.port.data, end.port.data + end.port.bytes);
    }
  }

  bool has_ended() const {
    const std::vector<bool> open = unfinished();
    for (size_t group = 0; group < groups_; ++group)
      if (open[group] && cycle_ - moved_[group] < patience_) return false;
    return true;
  }

  void find(const End& end, const std::string& what) {
    if (found_.insert(end.port.name + what).second)
      std::printf("broken %s: %s, cycle %lld, beat %zu\n", end.port.name, what.c_str(),
                  (long long)cycle_, end.beats());
  }

  Vtop& top_;
  std::vector<End> ends_;
  std::vector<int64_t> moved_{};
  int64_t patience_;
  int64_t cycle_ = 0;
  size_t groups_ = 0;
  std::set<std::string> found_{};  // each is told once
};

}  // namespace

int main(int count, char** arguments) {
  VerilatedContext context;
  const auto number = [&](int index) { return std::strtoll(arguments[index], nullptr, 10); };
  const std::string folder = std::string(arguments[1]) + "/";
  const uint64_t seed = uint64_t(number(2));
  context.randReset(2);  // what is undefined at the start is random
  context.randSeed(int(seed) + 1);
  Vtop top(&context);
  std::vector<End> ends;
  for (const Port& port : ports_of(top)) {
    const size_t index = ends.size();
    if (int(index) + 4 >= count) fail("one count of beats per port is needed");
    ends.push_back(End{port, size_t(number(int(index) + 4)), Staller(seed, index)});
    if (port.is_input)
      ends[index].given = read(folder + std::to_string(index) + ".in", ends[index].count * port.bytes);
  }
  Bench bench(top, std::move(ends), number(3));
  if (seed) {
    bench.run(int64_t(Random{seed}.next() % kCut));
    bench.restart();
  }
  bench.run(INT64_MAX);
  for (size_t index = 0; index < bench.ends().size(); ++index) {
    const End& end = bench.ends()[index];
    const std::string path = folder + std::to_string(index);
    write(path + ".out", end.taken.data(), end.taken.size());
    write(path + ".cycles", end.cycles.data(), end.cycles.size() * sizeof(int64_t));
  }
  const std::vector<bool> stuck = bench.unfinished();
  bool is_stuck = false;
  for (size_t group = 0; group < stuck.size(); ++group) {
    if (stuck[group]) std::printf("stuck %zu\n", group);
    is_stuck |= stuck[group];
  }
  top.final();
  return is_stuck ? 3 : bench.is_broken() ? 4 : 0;
}
