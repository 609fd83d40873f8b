#include "common/rotated_feature_align.h"

#include "cpu/pooling.h"

namespace okulo {

STABLE_TORCH_LIBRARY_IMPL(okulo, CPU, m) {
  m.impl("rotated_feature_align", TORCH_BOX(&rotated_feature_align<CpuPooling>));
  m.impl("rotated_feature_align_backward", TORCH_BOX(&rotated_feature_align_backward<CpuPooling>));
}

}  // namespace okulo
