#include "common/bezier_align.h"

#include "cpu/pooling.h"

namespace okulo {

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("bezier_align", TORCH_BOX(&bezier_align<CpuPooling>));
  m.impl("bezier_align_backward", TORCH_BOX(&bezier_align_backward<CpuPooling>));
}

}  // namespace okulo
