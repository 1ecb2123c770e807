// PyTorch's own CUDA caching allocator, driven by lines on standard input:
//
//   a ID BYTES STREAM POOL   allocate; POOL 0 is the default one, others are private pools of CUDA graphs
//   f ID                     free
//   e                        torch.cuda.empty_cache()
//   s                        print a snapshot: a line a segment, a line a block
//   q                        print the statistics
//
// Settings come from PYTORCH_CUDA_ALLOC_CONF, as they do for everybody. Addresses are printed from zero.
// An allocation that runs out of memory prints the message and goes on.

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/PeerToPeerAccess.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <unordered_map>

extern "C" int witness_captures;

using namespace c10::cuda::CUDACachingAllocator;

namespace {

constexpr size_t kBase = size_t{1} << 32;  // the driver's first address

void print(const char* name, const c10::CachingAllocator::StatArray& stats) {
  const auto& all = stats[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
  std::printf("stat %s %lld %lld\n", name, (long long)all.current, (long long)all.peak);
}

void print_statistics() {
  const auto stats = getDeviceStats(0);
  print("allocation", stats.allocation);
  print("segment", stats.segment);
  print("active", stats.active);
  print("inactive_split", stats.inactive_split);
  print("allocated_bytes", stats.allocated_bytes);
  print("reserved_bytes", stats.reserved_bytes);
  print("active_bytes", stats.active_bytes);
  print("inactive_split_bytes", stats.inactive_split_bytes);
  print("requested_bytes", stats.requested_bytes);
  std::printf("stat num_alloc_retries %lld\n", (long long)stats.num_alloc_retries);
  std::printf("stat num_ooms %lld\n", (long long)stats.num_ooms);
  std::printf("stat num_device_alloc %lld\n", (long long)stats.num_device_alloc);
  std::printf("stat num_device_free %lld\n", (long long)stats.num_device_free);
  std::printf("end\n");
}

void print_snapshot() {
  auto segments = snapshot().segments;
  std::sort(segments.begin(), segments.end(), [](const auto& a, const auto& b) { return a.address < b.address; });
  for (const auto& segment : segments) {
    std::printf(
        "segment %zu %zu %zu %d %d %llu\n", segment.address - kBase, segment.total_size,
        reinterpret_cast<size_t>(segment.stream), !segment.is_large, segment.is_expandable,
        segment.owner_private_pool_id.second);
    size_t address = segment.address;
    for (const auto& block : segment.blocks) {
      std::printf("block %zu %zu %zu %d\n", address - kBase, block.size,
          block.allocated ? block.requested_size : size_t{0}, block.allocated);
      address += block.size;
    }
  }
  std::printf("end\n");
}

}  // namespace

int main() {
  init(1);
  c10::cuda::detail::init_p2p_access_cache(1);
  std::unordered_map<long long, void*> live;
  std::unordered_map<unsigned long long, bool> pools;
  std::string what;
  while (std::cin >> what) {
    if (what == "a") {
      long long id = 0;
      size_t bytes = 0, stream = 0;
      unsigned long long pool = 0;
      std::cin >> id >> bytes >> stream >> pool;
      const c10::MempoolId_t pool_id{0, pool};
      if (pool) get()->beginAllocateToPool(0, pool_id, [](cudaStream_t) { return true; });
      if (pool) get()->markCaptureBegin(0);
      witness_captures = pool != 0;
      try {
        live[id] = raw_alloc_with_stream(bytes, reinterpret_cast<cudaStream_t>(stream));
      } catch (const c10::Error& error) {
        std::printf("oom %lld %s\n", id, error.what_without_backtrace());
        live[id] = nullptr;
      }
      witness_captures = 0;
      if (pool) get()->markCaptureEnd(0);
      if (pool) get()->endAllocateToPool(0, pool_id);
    } else if (what == "f") {
      long long id = 0;
      std::cin >> id;
      raw_delete(live.at(id));
      live.erase(id);
    } else if (what == "e") {
      emptyCache();
    } else if (what == "s") {
      print_snapshot();
    } else if (what == "q") {
      print_statistics();
    }
  }
  std::fflush(stdout);
  std::_Exit(0);  // libraries that would ask the missing device for things are not unloaded
}
