#include "common/roi_align_rotated.h"

#include "cpu/pooling.h"

namespace okulo {

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("roi_align_rotated", TORCH_BOX(&roi_align_rotated<CpuPooling>));
  m.impl("roi_align_rotated_backward", TORCH_BOX(&roi_align_rotated_backward<CpuPooling>));
}

}  // namespace okulo
