// Memory for large results.
#pragma once

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdint>

#include "common/dispatch.h"

namespace okulo {

// Asks for huge pages in a tensor that nothing has been written to, and returns it. The allocator
// takes what is larger than 32 MiB from the system each time, where the first touch of each page of
// 4 KiB costs more than writing it.
inline Tensor in_huge_pages(const Tensor& tensor) {
#ifdef __linux__
  constexpr uintptr_t kLeast = 32 << 20, kPage = 4096;
  const auto begin = reinterpret_cast<uintptr_t>(tensor.const_data_ptr());
  const auto end = begin + static_cast<uintptr_t>(tensor.numel() * tensor.element_size());
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  // A wish: where it cannot be granted, pages are small.
  if (end - begin >= kLeast) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
  return tensor;
}

}  // namespace okulo
