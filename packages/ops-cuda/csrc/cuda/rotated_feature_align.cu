#include "common/rotated_feature_align.h"
#include "cuda/pooling.h"

namespace okulo {

STABLE_TORCH_LIBRARY_IMPL(okulo, CUDA, m) {
  m.impl("rotated_feature_align", TORCH_BOX(&rotated_feature_align<CudaPooling>));
  m.impl("rotated_feature_align_backward", TORCH_BOX(&rotated_feature_align_backward<CudaPooling>));
}

}  // namespace okulo
