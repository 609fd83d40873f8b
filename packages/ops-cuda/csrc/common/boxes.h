// Areas of axis-aligned boxes (x0, y0, x1, y1); offset 1 counts a box's last pixel as well.
#pragma once

#include "common/macros.h"

namespace okulo {

template <typename A>
struct Box {
  A x0, y0, x1, y1;
};

template <typename A, typename T>
OKULO_HOST_DEVICE Box<A> load_box(const T* row) {
  return {static_cast<A>(row[0]), static_cast<A>(row[1]), static_cast<A>(row[2]),
          static_cast<A>(row[3])};
}

template <typename A>
OKULO_HOST_DEVICE A box_area(const Box<A>& box, A offset) {
  return (box.x1 - box.x0 + offset) * (box.y1 - box.y0 + offset);
}

template <typename A>
OKULO_HOST_DEVICE A shared_area(const Box<A>& a, const Box<A>& b, A offset) {
  const A w = (a.x1 < b.x1 ? a.x1 : b.x1) - (a.x0 > b.x0 ? a.x0 : b.x0) + offset;
  const A h = (a.y1 < b.y1 ? a.y1 : b.y1) - (a.y0 > b.y0 ? a.y0 : b.y0) + offset;
  return (w > 0 ? w : A(0)) * (h > 0 ? h : A(0));
}

}  // namespace okulo
